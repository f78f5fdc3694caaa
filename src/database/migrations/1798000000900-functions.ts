import type { MigrationInterface, QueryRunner } from 'typeorm';
import { dropFunctions, writeFunctions } from '../function-files';

/** Every SQL function that is no storage, from its own file. A release has one such migration, and it comes last. */
export class Functions1798000000900 implements MigrationInterface {
  up(runner: QueryRunner): Promise<void> {
    return writeFunctions(runner, __filename);
  }

  down(runner: QueryRunner): Promise<void> {
    return dropFunctions(runner);
  }
}
