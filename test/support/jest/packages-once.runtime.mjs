import Module, { createRequire } from 'node:module';
import { compileFunction, constants } from 'node:vm';
import Runtime from 'jest-runtime';

const PACKAGES = /\/node_modules\//;
/** What Jest itself hands to a test. */
const OF_JEST = /^(@jest\/|jest-|expect$)/;

/**
 * Node loads a package once per worker, and not Jest anew for each test file: Nest, TypeORM and Swagger took two
 * seconds of each. The hub's own modules are still fresh in each file. Everything runs in Node's own context, so there
 * is one `Error`, one `Array`, and `instanceof` holds. The price: a private door of Jest (`executor`), and a test that
 * changes a global for good changes it for the files after it.
 */
export default class PackagesOnceRuntime extends Runtime {
  constructor(...options) {
    super(...options);
    const { executor } = this;
    executor.compile = (source, filename) =>
      compileFunction(source, executor.injectedModuleParameters, {
        filename,
        importModuleDynamically: constants.USE_MAIN_CONTEXT_DEFAULT_LOADER,
      });
    // TypeORM loads the entities by their file names: those are of the hub, and fresh as well.
    Module._extensions['.ts'] = (module, file) => {
      module.exports = this.requireModule(file);
      delete Module._cache[file];
    };
  }

  requireModuleOrMock(from, name) {
    if (OF_JEST.test(name) || name.startsWith('.') || name.startsWith('node:'))
      return super.requireModuleOrMock(from, name);
    const load = createRequire(from);
    return PACKAGES.test(load.resolve(name)) ? load(name) : super.requireModuleOrMock(from, name);
  }
}
