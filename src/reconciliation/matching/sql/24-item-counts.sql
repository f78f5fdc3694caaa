-- Items by class and state; of these, lines of the legacy hub's file, and items that both partners booked and that
-- differ in what its six columns cannot show. $1 run.
select
  class,
  state,
  count(*) as items,
  count(*) filter (where recon.has_rgs(booked) <> recon.has_operator(booked)) as one_sided,
  count(*) filter (
    where recon.has_rgs(booked) and recon.has_operator(booked)
      and classes && array['duplicate', 'currency', 'direction', 'amount', 'bad_amount', 'status']
  ) as differing
from recon.item
where run_id = $1
group by class, state
