-- A side's own word for people, also when it is empty.
create or replace function recon.word_text(p_word text) returns text language sql immutable parallel safe as $$
  select coalesce(nullif(p_word, ''), '(none)')
$$;
