import fc from 'fast-check';
import { createPublicKey, verify } from 'node:crypto';
import { keyIdOf, sha256Hex } from '../../src/audit/hub-key';
import { canonicalJson } from '../../src/json/canonical-json';
import { type Manifest, ManifestKey, manifestFaults } from '../../src/reconciliation/reports/manifest';

const KEY = new ManifestKey('a secret of the test');
const FILE = { bytes: 120, sha256: sha256Hex('the file') };

function unsigned(rows = 1): Omit<Manifest, 'signing'> {
  return {
    format: 'recon-manifest/1',
    sequence: 3,
    previousManifestSha256: sha256Hex('the one before'),
    run: {
      id: '0193',
      kind: 'adhoc',
      rgs: 'rgs',
      operator: 'operator',
      businessDate: '2026-11-22',
      window: { from: '2026-11-22T05:00:00.000Z', to: '2026-11-23T05:00:00.000Z' },
      zone: 'Europe/Malta',
      cutoff: '06:00',
      graceSeconds: 900,
      exponents: {},
      asOf: '2026-11-23T05:20:00.000Z',
      sealedAt: '2026-11-23T05:20:10.000Z',
    },
    counts: { broken: rows, byClass: { amount: rows } },
    totals: [
      {
        businessDate: '2026-11-22',
        currency: 'EUR',
        direction: 'debit',
        side: 'rgs',
        count: 10,
        sumMinor: '99999999999999999999',
      },
    ],
    report: { version: 1, mediaType: 'text/csv', rows, ...FILE },
  };
}

const json = fc.letrec((tie) => ({
  value: fc.oneof(
    { depthSize: 'small' },
    fc.string({ unit: 'grapheme' }),
    fc.maxSafeInteger(),
    fc.boolean(),
    fc.constant(null),
    fc.array(tie('value'), { maxLength: 4 }),
    fc.dictionary(fc.string({ maxLength: 5 }), tie('value'), { maxKeys: 5 }),
  ),
})).value;

describe('canonical JSON', () => {
  it('does not depend on the order in which keys were written or stored, and means the same', () => {
    const shuffled = (value: any): any =>
      Array.isArray(value)
        ? value.map(shuffled)
        : typeof value === 'object' && value !== null
          ? Object.fromEntries(
              Object.entries(value)
                .reverse()
                .map(([name, part]) => [name, shuffled(part)]),
            )
          : value;
    fc.assert(
      fc.property(json, (value) => {
        const text = canonicalJson(value);
        expect(canonicalJson(shuffled(value))).toBe(text);
        expect(JSON.parse(text)).toEqual(JSON.parse(JSON.stringify(value)));
        expect(canonicalJson(JSON.parse(text))).toBe(text);
      }),
      { numRuns: 200 },
    );
  });
  it.each([
    [{ b: 1, a: [true, null] }, '{"a":[true,null],"b":1}'],
    [{ '\u20ac': 1, '\r': 2, '1': 3 }, '{"\\r":2,"1":3,"\u20ac":1}'],
    [-0, '0'],
  ])('%p is %s', (value, text) => expect(canonicalJson(value)).toBe(text));
  it.each([[0.5], [2 ** 53], [NaN], [undefined], [1n]])('refuses %p', (value) =>
    expect(() => canonicalJson({ value })).toThrow(TypeError),
  );
});

describe('a signed manifest', () => {
  const signed = KEY.sign(unsigned());

  it('is whole, with its file and with the key of the hub', () => {
    expect(manifestFaults(signed, FILE)).toEqual([]);
    expect(manifestFaults(JSON.parse(JSON.stringify(signed)), FILE, KEY.publicKey)).toEqual([]);
    expect(signed.manifest.signing.keyId).toBe(keyIdOf(KEY.publicKey));
  });

  it('is verified by anybody who has Ed25519, without code of ours', () => {
    const key = createPublicKey({
      format: 'jwk',
      key: { kty: 'OKP', crv: 'Ed25519', x: Buffer.from(KEY.publicKey, 'base64').toString('base64url') },
    });
    expect(
      verify(null, Buffer.from(canonicalJson(signed.manifest)), key, Buffer.from(signed.signature, 'base64')),
    ).toBe(true);
  });

  it('is the same key for the same secret, and another for another', () => {
    expect(new ManifestKey('a secret of the test').publicKey).toBe(KEY.publicKey);
    expect(new ManifestKey('another').keyId).not.toBe(KEY.keyId);
  });

  it('is refused when any byte of it changed, whichever', () => {
    const text = canonicalJson(signed.manifest);
    fc.assert(
      fc.property(fc.nat({ max: text.length - 1 }), fc.integer({ min: 0x20, max: 0x7e }), (at, code) => {
        const letter = String.fromCharCode(code);
        fc.pre(text[at] !== letter);
        let manifest: unknown;
        try {
          manifest = JSON.parse(text.slice(0, at) + letter + text.slice(at + 1));
        } catch {
          return;
        }
        // A key written twice may hide a change that means nothing, since the last one counts.
        fc.pre(canonicalJson(manifest) !== text);
        expect(manifestFaults({ ...signed, manifest }, FILE, KEY.publicKey)).not.toEqual([]);
      }),
      { numRuns: 400 },
    );
  });

  it.each([
    ['another file', { ...FILE, sha256: sha256Hex('another file') }, 'the file was changed'],
    ['a longer file', { ...FILE, bytes: 121 }, '121 bytes'],
  ])('is refused for %s', (_what, file, why) => expect(manifestFaults(signed, file).join()).toContain(why));

  it('is refused under another key, even one that signed it well', () => {
    const forged = new ManifestKey('somebody else').sign(unsigned());
    expect(manifestFaults(forged, FILE)).toEqual([]);
    expect(manifestFaults(forged, FILE, KEY.publicKey).join()).toContain('was signed with the key');
  });

  it.each([
    [null],
    [[]],
    ['text'],
    [{}],
    [{ ...KEY.sign(unsigned()), signature: 5 }],
    [{ ...KEY.sign(unsigned()), manifest: { format: 'recon-manifest/2' } }],
    [{ ...KEY.sign(unsigned()), manifest: { format: 'recon-manifest/1' } }],
    [{ ...KEY.sign(unsigned()), signature: '' }],
  ])('is refused for what is no manifest at all: %p', (what) => expect(manifestFaults(what, FILE)).not.toEqual([]));
});
