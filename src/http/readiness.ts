import { Injectable } from '@nestjs/common';

/** Whether this process wants requests. Turned off first when it stops, so that a balancer looks elsewhere before the port closes. */
@Injectable()
export class Readiness {
  stopping = false;
}
