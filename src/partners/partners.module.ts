import { Global, Module } from '@nestjs/common';
import { PartnerDirectory } from './partner-directory';
import { PartnerHttp } from './partner-http';
import { PartnersStore } from './partners.store';
import { Replicas } from './replicas';

@Global()
@Module({
  providers: [PartnersStore, PartnerDirectory, PartnerHttp, Replicas],
  exports: [PartnerDirectory, PartnerHttp],
})
export class PartnersModule {}
