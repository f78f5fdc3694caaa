-- The same where most keys are to be looked at, and a copy would cost more than it saves.
create temp view candidate_rows as
select row.*
from recon.staged_{slot} row
join recon.broken_{slot} broken on broken.k = row.match_key
