/** A key that no reader of YAML takes for anything but a text. */
const PLAIN_KEY = /^(?!(?:y|n|yes|no|on|off|true|false|null)$)[A-Za-z_$][\w$.-]*$/i;

/**
 * A JSON value, without undefined, as YAML: block style, texts in double quotes, whose escapes are those of JSON. The
 * general writer that comes with Nest looks for the prettiest form of each text, and keeps everybody's money waiting
 * for some 350 ms over our API document; this takes a tenth of it.
 */
export function toYaml(value: unknown): string {
  const lines: string[] = [];
  write(value, '', '', lines);
  return `${lines.join('\n')}\n`;
}

/** `head` is what stands before the value on its first line, `indent` what stands before each line of what is in it. */
function write(value: unknown, head: string, indent: string, lines: string[]): void {
  if (typeof value !== 'object' || value === null || Object.keys(value).length === 0) {
    lines.push(`${head}${JSON.stringify(value)}`);
    return;
  }
  // A key stands alone on its line; a dash has the first line of its value behind it.
  let before = head.endsWith('- ') ? head : indent;
  if (head !== '' && !head.endsWith('- ')) lines.push(head.trimEnd());
  for (const [key, entry] of Object.entries(value) as [string, unknown][]) {
    const name = Array.isArray(value) ? '- ' : `${PLAIN_KEY.test(key) ? key : JSON.stringify(key)}: `;
    write(entry, `${before}${name}`, `${indent}  `, lines);
    before = indent;
  }
}
