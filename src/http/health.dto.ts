import { ApiProperty } from '@nestjs/swagger';

export class HealthResponse {
  @ApiProperty({ enum: ['ok'], example: 'ok' })
  status!: 'ok';
}

export class ReadyResponse {
  @ApiProperty({ enum: ['ok', 'unavailable'], example: 'ok' })
  status!: 'ok' | 'unavailable';

  @ApiProperty({
    type: 'object',
    additionalProperties: { type: 'string' },
    description: '"ok" for each check, or the problem',
    example: { accepting: 'ok', database: 'ok', migrations: 'ok', workers: 'ok' },
  })
  checks!: Record<string, string>;
}
