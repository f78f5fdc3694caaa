-- An amount for people: major units and currency. Two decimals where the currency's number is not given.
create or replace function recon.money_text(p_amount_minor bigint, p_currency text, p_exponent integer) returns text
language sql immutable parallel safe as $$
  select round(p_amount_minor::numeric * power(10::numeric, -coalesce(p_exponent, 2)), coalesce(p_exponent, 2))::text
    || coalesce(' ' || nullif(p_currency, ''), '')
$$;
