/** What @Type says; the package exports the decorator and not the way to read it. */
declare module 'class-transformer/cjs/storage' {
  export const defaultMetadataStorage: {
    findTypeMetadata(target: new () => object, property: string): { typeFunction(): unknown } | undefined;
  };
}
