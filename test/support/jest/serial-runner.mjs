import TestRunner from 'jest-runner';

/** Jest's own runner, one file at a time: for tests that need both cores, or that judge by the clock. */
export default class SerialRunner extends TestRunner {
  isSerial = true;
}
