-- And of the rows of the keys on which the first pass found all sides agreed.
select
  owned as "isOwned",
  attrs as attributes,
  recon.is_refused(attrs) as "isRefused",
  recon.has_rgs(mask) as rgs,
  recon.has_operator(mask) as operator,
  recon.has_hub(mask) as hub,
  sum(n) as rows,
  sum(sum_minor)::text as sum_minor
from recon.matched_{slot}
group by owned, attrs, mask
