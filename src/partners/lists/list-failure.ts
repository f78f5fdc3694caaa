/**
 * What can be wrong with a list that a partner gave. Stable words: reconciliation keeps them with its runs, and finance
 * reads them.
 */
export type ListFailureReason =
  | 'wrong_content_type'
  /** Not JSON, not UTF-8, or cut off. */
  | 'not_json'
  /** JSON, and none of the forms of a list; or a list that says that more follows in a way that cannot be followed. */
  | 'not_a_list'
  /** The list is read in parts of the window, and gave rows of another part. */
  | 'window_ignored'
  /** More rows than were asked for. */
  | 'page_too_long'
  /** More bytes than a page or a row may have, counted after decompression. */
  | 'too_many_bytes'
  | 'cursor_repeated'
  | 'cursor_went_back'
  /** Link to another host. */
  | 'foreign_link'
  /** The reported total is not what was read. */
  | 'total_mismatch'
  /** The side says that it has not all data of the window yet. */
  | 'not_complete_yet'
  /** More reading time, rows or empty pages than any honest list needs. */
  | 'never_ends'
  /** A resume does not find the rows that were read before; the list is to be read again. */
  | 'list_changed';

/** Something about the partner's list that no repeat would fix. The message quotes nothing of it. */
export class ListFailure extends Error {
  constructor(
    readonly reason: ListFailureReason,
    detail: string,
  ) {
    super(detail);
    this.name = 'ListFault';
  }
}
