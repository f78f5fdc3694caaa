import { Global, Module } from '@nestjs/common';
import { PartnerDirectory } from './partner-directory';
import { PartnerHttp } from './partner-http';
import { PartnersStore } from './partners.store';

@Global()
@Module({ providers: [PartnersStore, PartnerDirectory, PartnerHttp], exports: [PartnerDirectory, PartnerHttp] })
export class PartnersModule {}
