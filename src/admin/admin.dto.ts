import { ApiProperty } from '@nestjs/swagger';

export class OverdueRound {
  @ApiProperty({ example: 'rgs' }) rgs!: string;
  @ApiProperty({ example: 'round-77' }) roundId!: string;
  @ApiProperty({ example: 'player-1' }) playerId!: string;
  @ApiProperty({ format: 'date-time', example: '2026-11-23T12:00:00.000Z' }) openedAt!: string;
}

export class DestinationView {
  @ApiProperty({ example: 'operator' }) code!: string;
  @ApiProperty({ enum: ['operator', 'rgs'], example: 'operator' }) queue!: string;
  @ApiProperty({ description: 'Without user, password and query', example: 'http://localhost:8001/' }) url!: string;
  @ApiProperty({ description: 'Messages that may be sent now', example: 0 }) due!: number;
  @ApiProperty({ description: 'Messages whose next attempt is later', example: 0 }) waiting!: number;
  @ApiProperty({ description: 'Messages that are in flight', example: 0 }) leased!: number;
  @ApiProperty({ description: 'Messages that stop their lane until a person acts', example: 0 }) blocked!: number;
  @ApiProperty({ description: 'Dead letters and blocked messages that need a person', example: 0 }) dead!: number;
  @ApiProperty({ description: 'Age of the oldest message that may be sent now', example: 0 }) lagSeconds!: number;
  @ApiProperty({ enum: ['closed', 'open', 'half_open'], example: 'closed' }) breaker!: string;
  @ApiProperty({ example: false }) paused!: boolean;
  @ApiProperty({ type: 'string', nullable: true, example: null }) pauseReason!: string | null;
  @ApiProperty({
    type: 'string',
    format: 'date-time',
    nullable: true,
    description: 'Until when a Retry-After pauses all calls',
    example: null,
  })
  notBefore!: Date | null;
  @ApiProperty({
    type: 'string',
    nullable: true,
    description: 'Error of the last failed call; kept after recovery',
    example: null,
  })
  lastError!: string | null;
  @ApiProperty({ type: 'string', format: 'date-time', nullable: true, example: null }) lastErrorAt!: Date | null;
}
