import { createRequire } from 'node:module'

/** Imports a module untouched by any TypeScript loader. The caller says by a cast what it uses of the module. */
export const { nativeImport } = createRequire(import.meta.url)('./native-import.cjs') as {
  nativeImport: (specifier: string) => Promise<unknown>
}
