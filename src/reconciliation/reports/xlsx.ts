import { Readable } from 'node:stream';
import { ZipFile } from 'yazl';
import type { Column } from './report-columns';

/** Excel's own limit is one more; the heading takes a row. */
export const XLSX_ROWS_MAX = 1_048_575;
/** Excel calls a file with a longer cell damaged. */
const CELL_CHARACTERS_MAX = 32_767;
/** Excel keeps 15 digits of a number; one with more is written as text, so that none is lost. */
const EXACT_DIGITS = 15;
/** Entries always carry the same time: the same report is the same bytes. */
const ENTRY = { mtime: new Date(2000, 0, 1), forceDosTimestamp: true } as const;

export type SheetRow = readonly (string | boolean | null)[];

export interface Sheet {
  readonly name: string;
  readonly columns: readonly Column[];
  /** Read once, page by page, when the sheet's turn comes. */
  readonly pages: AsyncIterable<readonly SheetRow[]>;
}

/**
 * A workbook as it is written: one page of rows is held at a time, and nothing is read before the reader has taken what is there.
 * Text is inline text and never a formula; cells that begin like one are marked as text for when they are edited.
 */
export function xlsx(sheets: readonly Sheet[]): Readable {
  const zip = new ZipFile();
  const output = zip.outputStream as Readable;
  const sources: Readable[] = [];
  const fixed = (name: string, text: string) => zip.addBuffer(Buffer.from(text), name, ENTRY);
  fixed('[Content_Types].xml', contentTypes(sheets.length));
  fixed('_rels/.rels', RELATIONS);
  fixed('xl/workbook.xml', workbook(sheets));
  fixed('xl/_rels/workbook.xml.rels', workbookRelations(sheets.length));
  fixed('xl/styles.xml', STYLES);
  for (const [index, sheet] of sheets.entries()) {
    zip.addReadStreamLazy(`xl/worksheets/sheet${index + 1}.xml`, ENTRY, (begin) => {
      // The reader left while an earlier part was written.
      if (output.destroyed) return;
      const source = Readable.from(sheetXml(sheet), { objectMode: false, highWaterMark: 64 * 1024 });
      sources.push(source);
      // A page that cannot be read must break the file off; half a sheet must not look whole.
      source.once('error', (error) => output.destroy(error));
      begin(null, source);
    });
  }
  zip.once('error', (error: Error) => output.destroy(error));
  // A reader that left: the page that is being read is the last.
  output.once('close', () => sources.forEach((source) => source.destroy()));
  zip.end();
  return output;
}

async function* sheetXml({ columns, pages }: Sheet): AsyncGenerator<Buffer> {
  const heading = columns
    .map(({ name }, column) => `<c r="${columnName(column)}1" s="1" t="inlineStr"><is><t>${escaped(name)}</t></is></c>`)
    .join('');
  yield Buffer.from(
    `${XML}<worksheet ${MAIN}><sheetViews><sheetView workbookViewId="0"><pane ySplit="1" topLeftCell="A2" activePane="bottomLeft" state="frozen"/></sheetView></sheetViews><sheetData><row r="1">${heading}</row>`,
  );
  const names = columns.map((_column, index) => columnName(index));
  let line = 1;
  for await (const rows of pages) {
    let text = '';
    for (const row of rows) {
      line += 1;
      if (line > XLSX_ROWS_MAX + 1) throw new RangeError(`a sheet holds at most ${XLSX_ROWS_MAX} rows`);
      text += `<row r="${line}">`;
      for (const [index, column] of columns.entries())
        text += cell(`${names[index]}${line}`, row[index] ?? null, column);
      text += '</row>';
    }
    yield Buffer.from(text);
  }
  yield Buffer.from('</sheetData></worksheet>');
}

function cell(place: string, value: string | boolean | null, { kind }: Column): string {
  if (value === null || value === '') return '';
  if (typeof value === 'boolean') return `<c r="${place}" t="b"><v>${value ? 1 : 0}</v></c>`;
  if (kind === 'number' && /^-?\d+(\.\d+)?$/.test(value) && value.replace(/^-?0*|\./g, '').length <= EXACT_DIGITS)
    return `<c r="${place}"><v>${value}</v></c>`;
  const style = /^[=+\-@\t\r\n\uff1d\uff0b\uff0d\uff20]/.test(value) ? ' s="2"' : '';
  return `<c r="${place}"${style} t="inlineStr"><is><t xml:space="preserve">${escaped(shortened(value))}</t></is></c>`;
}

function shortened(text: string): string {
  if (text.length <= CELL_CHARACTERS_MAX) return text;
  // Not in the middle of a surrogate pair, which would be no XML.
  const cut = text.slice(0, CELL_CHARACTERS_MAX - 1);
  return `${cut.isWellFormed() ? cut : cut.slice(0, -1)}…`;
}

/** XML 1.0 has no way to write most control characters; ECMA-376 writes them as _x0007_, and therefore text that looks so as _x005F_x0007_. */
function escaped(text: string): string {
  return text
    .toWellFormed()
    .replace(/_x(?=[0-9A-Fa-f]{4}_)/g, '_x005F_x')
    .replace(
      /[\u0000-\u0008\u000b-\u001f\ufffe\uffff]/g,
      (character) => `_x${character.charCodeAt(0).toString(16).toUpperCase().padStart(4, '0')}_`,
    )
    .replace(/[&<>]/g, (character) => (character === '&' ? '&amp;' : character === '<' ? '&lt;' : '&gt;'));
}

/** 0 is A, 25 is Z, 26 is AA. */
function columnName(index: number): string {
  const letter = String.fromCharCode(65 + (index % 26));
  return index < 26 ? letter : columnName(Math.floor(index / 26) - 1) + letter;
}

const XML = '<?xml version="1.0" encoding="UTF-8" standalone="yes"?>\n';
const MAIN = 'xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"';
const OFFICE = 'http://schemas.openxmlformats.org/officeDocument/2006/relationships';
const PACKAGE = 'http://schemas.openxmlformats.org/package/2006';
const TYPE = 'application/vnd.openxmlformats-officedocument.spreadsheetml';

const RELATIONS = `${XML}<Relationships xmlns="${PACKAGE}/relationships"><Relationship Id="rId1" Type="${OFFICE}/officeDocument" Target="xl/workbook.xml"/></Relationships>`;

/** Formats of cells: 0 plain, 1 the heading, 2 text that begins like a formula. */
const STYLES =
  `${XML}<styleSheet ${MAIN}><fonts count="2"><font><sz val="11"/><name val="Calibri"/></font><font><b/><sz val="11"/><name val="Calibri"/></font></fonts>` +
  '<fills count="2"><fill><patternFill patternType="none"/></fill><fill><patternFill patternType="gray125"/></fill></fills><borders count="1"><border><left/><right/><top/><bottom/><diagonal/></border></borders>' +
  '<cellStyleXfs count="1"><xf numFmtId="0" fontId="0" fillId="0" borderId="0"/></cellStyleXfs><cellXfs count="3"><xf numFmtId="0" fontId="0" fillId="0" borderId="0" xfId="0"/>' +
  '<xf numFmtId="0" fontId="1" fillId="0" borderId="0" xfId="0" applyFont="1"/><xf numFmtId="49" fontId="0" fillId="0" borderId="0" xfId="0" applyNumberFormat="1" quotePrefix="1"/></cellXfs>' +
  '<cellStyles count="1"><cellStyle name="Normal" xfId="0" builtinId="0"/></cellStyles></styleSheet>';

function contentTypes(sheets: number): string {
  const parts = numbers(sheets).map(
    (n) => `<Override PartName="/xl/worksheets/sheet${n}.xml" ContentType="${TYPE}.worksheet+xml"/>`,
  );
  return `${XML}<Types xmlns="${PACKAGE}/content-types"><Default Extension="rels" ContentType="application/vnd.openxmlformats-package.relationships+xml"/><Default Extension="xml" ContentType="application/xml"/><Override PartName="/xl/workbook.xml" ContentType="${TYPE}.sheet.main+xml"/><Override PartName="/xl/styles.xml" ContentType="${TYPE}.styles+xml"/>${parts.join('')}</Types>`;
}

function workbook(sheets: readonly Sheet[]): string {
  const parts = sheets.map(
    ({ name }, index) => `<sheet name="${escaped(name)}" sheetId="${index + 1}" r:id="rId${index + 1}"/>`,
  );
  return `${XML}<workbook ${MAIN} xmlns:r="${OFFICE}"><sheets>${parts.join('')}</sheets></workbook>`;
}

function workbookRelations(sheets: number): string {
  const parts = numbers(sheets).map(
    (n) => `<Relationship Id="rId${n}" Type="${OFFICE}/worksheet" Target="worksheets/sheet${n}.xml"/>`,
  );
  return `${XML}<Relationships xmlns="${PACKAGE}/relationships">${parts.join('')}<Relationship Id="rId${sheets + 1}" Type="${OFFICE}/styles" Target="styles.xml"/></Relationships>`;
}

function numbers(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index + 1);
}
