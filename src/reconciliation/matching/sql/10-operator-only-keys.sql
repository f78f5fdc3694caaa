-- The only key with this reference, direction and currency that the operator has and the RGS has not. See 09.
create temp table operator_only_keys on commit drop as
select
  ref_id,
  first_direction as direction,
  lowest_currency as currency,
  (array_agg(match_key))[1] as match_key,
  min(correlation_id) as correlation_id
from keys
where in_operator and not in_rgs and ref_id <> ''
  and first_direction = last_direction and first_direction <> 'unknown'
  and lowest_currency = highest_currency
  and not is_refused and not is_foreign
group by 1, 2, 3
having count(*) = 1
