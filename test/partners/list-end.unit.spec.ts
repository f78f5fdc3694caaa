import { ListFailure } from '../../src/partners/lists/list-failure';
import { nextLink } from '../../src/partners/lists/list-end';

const link = (value: string) => (name: string) => (name === 'link' ? value : null);
const reasonOf = (run: () => unknown): string => {
  try {
    run();
  } catch (error) {
    if (error instanceof ListFailure) return error.reason;
    throw error;
  }
  return 'none';
};

describe('the next page of a list', () => {
  it.each([
    {
      from: 'https://wallet.example/v2/transactions',
      next: 'http://wallet.example/v2/transactions?page=2',
      how: 'http, since a balancer in front speaks https',
    },
    {
      from: 'https://wallet.example/v2/transactions',
      next: 'http://wallet.example:80/v2/transactions?page=2',
      how: 'http with its own port',
    },
    {
      from: 'https://wallet.example:443/v2/transactions',
      next: 'http://WALLET.example/v2/transactions?page=2',
      how: 'http, the host in capitals',
    },
    {
      from: 'http://wallet.example/v2/transactions',
      next: 'https://wallet.example/v2/transactions?page=2',
      how: 'https behind an address of http',
    },
    {
      from: 'http://wallet.example:8080/v2/transactions',
      next: 'https://wallet.example:8080/v2/transactions?page=2',
      how: 'the same port under another scheme',
    },
    {
      from: 'https://wallet.example/v2/transactions',
      next: '//wallet.example/v2/transactions?page=2',
      how: 'no scheme',
    },
    { from: 'https://wallet.example/v2/transactions', next: '?page=2', how: 'a query alone' },
  ])('$how: is called at the address that is configured', ({ from, next }) => {
    expect(nextLink(link(`<${next}>; rel="next"`), from)).toBe('/v2/transactions?page=2');
  });

  it.each([
    { from: 'https://wallet.example/v2', next: 'http://wallet.example:8080/v2' },
    { from: 'https://wallet.example/v2', next: 'https://wallet.example:80/v2' },
    { from: 'https://wallet.example/v2', next: 'https://wallet.example.evil.example/v2' },
    { from: 'https://wallet.example/v2', next: 'ftp://wallet.example/v2' },
    { from: 'https://wallet.example/v2', next: 'http://user@other.example/v2' },
  ])('$next of $from: is on another host, and never called', ({ from, next }) => {
    expect(reasonOf(() => nextLink(link(`<${next}>; rel="next"`), from))).toBe('foreign_link');
  });

  it.each(["<?page=2>; rel='next'", '<?page=2> rel=next', '?page=2; rel=next', '<?page=2>; rel="n\\ext"'])(
    '%s: is followed or fails the reading, and is never the end of the list',
    (value) => {
      const read = (): string | null => nextLink(link(value), 'https://wallet.example/v2/transactions');
      const reason = reasonOf(read);
      expect(reason === 'none' ? read() : reason).toEqual(
        expect.stringMatching(/^(?:\/v2\/transactions\?page=2|not_a_list)$/),
      );
    },
  );
});
