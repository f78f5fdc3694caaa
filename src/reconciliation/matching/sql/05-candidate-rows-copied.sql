-- All rows of the keys that the second pass looks at: several statements need them, and a million rows are not worth
-- as many scans to find a few thousand.
create temp table candidate_rows on commit drop as
select row.*
from recon.staged_{slot} row
join recon.broken_{slot} broken on broken.k = row.match_key
