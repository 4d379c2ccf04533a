import { readFile } from 'node:fs/promises'
import { expect, test } from 'vitest'
import { KINDS } from '../../../src/domain/mask/known-shapes.ts'

test('docs/operations.md names every kind of secret with a known shape', async () => {
  const text = await readFile(new URL('../../../docs/operations.md', import.meta.url), 'utf8')
  const section = text.split('## Secrets in what runs record')[1]?.split('\n## ')[0] ?? ''
  const named = [...section.matchAll(/^\| `([\w-]+)` \|/gm)].map(([, kind]) => kind)
  expect(named).toEqual(KINDS)
})
