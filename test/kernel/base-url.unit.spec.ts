import { shownUrl, splitCredentials, underBase } from '../../src/kernel/base-url';

describe('where a call goes', () => {
  it.each([
    ['http://w.example', '/v2/x', 'http://w.example/v2/x'],
    ['http://w.example/', '/v2/x', 'http://w.example/v2/x'],
    ['http://w.example/api//', '/v2/x', 'http://w.example/api/v2/x'],
    ['http://w.example/api?key=s', '/v2/x', 'http://w.example/api/v2/x?key=s'],
    ['http://w.example?key=s', '/v2/x?reference=r', 'http://w.example/v2/x?key=s&reference=r'],
    ['http://w.example/api/?', '/v2/x?reference=r', 'http://w.example/api/v2/x?reference=r'],
    ['http://w.example/api?a=/b/?c', '/v2/x', 'http://w.example/api/v2/x?a=/b/?c'],
    ['http://w.example/api#part', '/v2/x', 'http://w.example/api/v2/x'],
    ['http://u:p@w.example/api?key=s', '/v2/x', 'http://u:p@w.example/api/v2/x?key=s'],
    ['http://w.example/hook?key=s', '', 'http://w.example/hook?key=s'],
  ])('%s and %p: %s', (base, path, url) => {
    expect(underBase(base, path)).toBe(url);
  });
});

describe('what is shown and what is sent of user, password and key', () => {
  it.each([
    ['http://u:p@w.example/api?key=s', 'http://w.example/api', 'u:p'],
    ['https://u:50%@w.example/', 'https://w.example/', 'u:50%'],
    ['https://u%40home:%C3%A9%zz%2@w.example/', 'https://w.example/', 'u@home:é%zz%2'],
    ['https://token@w.example/', 'https://w.example/', 'token:'],
    ['https://:p@w.example/', 'https://w.example/', ':p'],
  ])('%s is shown as %s, and %s goes into the header', (url, shown, userinfo) => {
    expect(shownUrl(url)).toBe(shown);
    const split = splitCredentials(url);
    expect(split.authorization).toBe(`Basic ${Buffer.from(userinfo).toString('base64')}`);
    expect(split.url.href).not.toMatch(/@|50%/);
  });

  it('nothing is sent where there is nothing', () => {
    expect(splitCredentials('https://w.example/').authorization).toBeNull();
  });
});
