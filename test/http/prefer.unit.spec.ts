import { preferredWait } from '../../src/http/prefer';

describe('the wait that a Prefer header asks for', () => {
  it.each([
    { header: 'wait=1', seconds: 1 },
    { header: 'wait=20', seconds: 20 },
    { header: 'WAIT=5', seconds: 5 },
    { header: ' wait = 5 ', seconds: 5 },
    { header: 'wait="5"', seconds: 5 },
    { header: 'wait=05', seconds: 5 },
    { header: 'wait=5; foo', seconds: 5 },
    { header: 'respond-async, wait=3', seconds: 3 },
    { header: 'wait=3, respond-async', seconds: 3 },
    { header: 'wait=4, wait=9', seconds: 4 },
    { header: 'wait=abc, wait=9', seconds: 9 },
  ])('$header: $seconds s', ({ header, seconds }) => {
    expect(preferredWait(header)).toBe(seconds);
  });

  it.each(['wait=21', 'wait=3600', 'wait=999999'])('%s: the longest there is', (header) => {
    expect(preferredWait(header)).toBe(20);
  });

  it.each([
    undefined,
    '',
    'wait',
    'wait=',
    'wait=0',
    'wait=00',
    'wait=-1',
    'wait=1.5',
    'wait=abc',
    'wait=1s',
    'wait=5 5',
    'await=5',
    'wait:5',
    'respond-async',
    'wait=1000000',
    ',,,',
    'wait=٥',
  ])('%s: ignored', (header) => {
    expect(preferredWait(header)).toBeNull();
  });
});
