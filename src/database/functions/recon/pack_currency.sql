-- Letters as digits to the base 32; 0 for what is no code of 1 to 8 capital letters. See packCurrency in
-- src/reconciliation/run/codes.ts.
create or replace function recon.pack_currency(p_currency text)
 RETURNS bigint
 LANGUAGE plpgsql
 IMMUTABLE PARALLEL SAFE STRICT
AS $function$
declare
  v_packed bigint := 0;
begin
  if p_currency !~ '^[A-Z]{1,8}$' then return 0; end if;
  for place in 1 .. length(p_currency) loop
    v_packed := v_packed * 32 + ascii(substr(p_currency, place, 1)) - 64;
  end loop;
  return v_packed;
end $function$;
