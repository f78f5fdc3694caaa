-- Cells in which what matched is not the same on all three sides. $1 run.
select business_date::text as date, cur as currency, dir as direction
from recon.summary
where run_id = $1 and class = 'matched'
group by business_date, cur, dir
having count(*) <> 3 or min(n) <> max(n) or min(sum_minor) <> max(sum_minor)
limit 5
