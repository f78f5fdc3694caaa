-- What the outbox has not sent. A message that was replayed is pending, whatever else is kept of it.
create temp table unfinished_messages on commit drop as
select message_id, bool_or(is_pending) as is_pending
from outbox_unfinished
group by message_id
