import { Inject, Injectable } from '@nestjs/common';
import { type Config } from '../../config/config';
import { CONFIG } from '../../config/config.module';
import { targetUrl } from '../../outbox/sender';
import { DEFAULT_OPERATOR, DEFAULT_RGS, PartnerDirectory } from '../../partners/partner-directory';
import { PartnerHttp } from '../../partners/partner-http';
import { ListCall } from './list-call';
import { decodePlace } from './list-place';
import { ListReading } from './list-reading';
import { rowMapper } from './list-rows';
import { ReadLimits } from './read-limits';
import { type RowSink, type Side, SourceError, type SourcePage, SourceReader, type SourceWindow } from './source';

/** Reads the lists of the default pair over HTTP, in whichever form they come: cursor pages, Link pages or one bare array. */
@Injectable()
export class PartnerListReader extends SourceReader {
  constructor(
    private readonly http: PartnerHttp,
    private readonly partners: PartnerDirectory,
    @Inject(CONFIG) private readonly config: Config,
    private readonly limits: ReadLimits,
  ) {
    super();
  }

  async *pages(
    side: Side,
    window: SourceWindow | null,
    cursor: string | null,
    gone: AbortSignal,
    sink: RowSink,
  ): AsyncGenerator<SourcePage, void, void> {
    const partner = this.partners.byCode(side === 'rgs' ? DEFAULT_RGS : DEFAULT_OPERATOR);
    if (partner === undefined)
      throw new SourceError(side, 'not_configured', 'the default pair of partners is not active');
    const place = cursor === null ? null : decodePlace(cursor);
    const { maxRetries: retries, retryBackoffSeconds } = this.config;
    const call = new ListCall(
      this.http,
      side,
      partner,
      this.limits,
      { retries, backoffMs: retryBackoffSeconds * 1000 },
      gone,
    );
    const base = partner.role === 'rgs' ? partner.baseUrl : targetUrl(partner, '/v2/transactions');
    try {
      yield* new ListReading(
        call,
        base,
        window,
        this.limits,
        rowMapper(partner),
        sink,
        (error) => this.http.refusal(error).status,
      ).pages(place);
    } catch (error) {
      throw call.translate(error);
    } finally {
      call.close();
    }
  }
}
