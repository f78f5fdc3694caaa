-- A link does not change once money has moved under it: a win is paid to the wallet that its debit was taken from.
create or replace function player_link_is_settled()
 RETURNS trigger
 LANGUAGE plpgsql
AS $function$
declare
  v_link player_link := coalesce(new, old);
begin
  if exists (
    select 1 from wallet_transaction t
    where t.rgs_id = v_link.rgs_id and t.player_id = v_link.player_id and t.operator_id = v_link.operator_id
      and (tg_op = 'DELETE' or t.external_player_id <> new.external_player_id)
  ) or (tg_op = 'UPDATE'
    and (old.operator_id, old.rgs_id, old.player_id) is distinct from (new.operator_id, new.rgs_id, new.player_id)
    and exists (
      select 1 from wallet_transaction t
      where t.rgs_id = old.rgs_id and t.player_id = old.player_id and t.operator_id = old.operator_id
  )) then
    raise exception 'player % of rgs % has moved money at operator % under another name: '
      'a link does not change once it is used', v_link.player_id, v_link.rgs_id, v_link.operator_id
      using errcode = 'integrity_constraint_violation', constraint = 'player_link_is_settled';
  end if;
  return coalesce(new, old);
end $function$;
create or replace trigger player_link_is_settled before insert or update or delete on player_link
  for each row execute function player_link_is_settled();
