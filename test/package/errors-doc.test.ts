import { readFileSync } from 'node:fs'
import { expect, it } from 'vitest'
import { errorCodes } from '../../src/errors.ts'

it('lists in docs/errors.md exactly the codes the package has, in the same order', () => {
  const page = readFileSync(new URL('../../docs/errors.md', import.meta.url), 'utf8')

  const documented = [...page.matchAll(/^\| `([A-Z_]+)` \|/gm)].map((row) => row[1])

  expect(documented).toEqual(Object.keys(errorCodes))
})
