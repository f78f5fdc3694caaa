-- Both keys of such a pair, each with the other's correlation id.
create temp table relinked_keys on commit drop as
select rgs.match_key, operator.correlation_id as other_correlation_id
from rgs_only_keys rgs join operator_only_keys operator using (ref_id, direction, currency)
union all
select operator.match_key, rgs.correlation_id
from rgs_only_keys rgs join operator_only_keys operator using (ref_id, direction, currency)
