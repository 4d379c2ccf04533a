import { rm } from 'node:fs/promises'
import { dirname } from 'node:path'
import { expect } from 'vitest'
import { hashOfSources } from '../../../src/audit/bundle/evidence-file.ts'
import { test } from '../../support/test.ts'

test('what a page of evidence was built from is known by all its sources', async ({ site }) => {
  const folder = dirname(await site.write('one.ts', 'export {}'))
  await site.write('two.ts', '')
  const hash = () => hashOfSources(folder, ['one.ts', 'two.ts'])
  const built = await hash()
  expect(await hash()).toBe(built)
  await site.write('two.ts', '// newer')
  const changed = await hash()
  await rm(site.path('two.ts'))
  const removed = await hash()
  expect(new Set([built, changed, removed, null]).size).toBe(4)
  await rm(site.path('one.ts'))
  expect(await hash()).toBeNull()
})
