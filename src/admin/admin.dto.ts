import { ApiProperty } from '@nestjs/swagger';

export class OverdueRound {
  @ApiProperty({ example: 'rgs' }) rgs!: string;
  @ApiProperty({ example: 'round-77' }) roundId!: string;
  @ApiProperty({ example: 'player-1' }) playerId!: string;
  @ApiProperty({ format: 'date-time', example: '2026-11-23T12:00:00.000Z' }) openedAt!: string;
}
