import { text } from 'node:stream/consumers'
import { describe, expect, test } from 'vitest'
import { isMissing } from '../support/missing.ts'
import { startAs } from './other-servers.ts'

const SERVERS = [
  { server: 'a root server with a project of root', uid: 0, owner: 0 },
  { server: 'a root server with a project of a user', uid: 0, owner: 1500 },
  { server: 'a server of a user', uid: 1500, owner: 1500 },
]

describe.runIf(process.getuid?.() === 0).each([
  { level: 'namespaces', needs: 'bwrap' },
  { level: 'landlock', needs: 'landlock' },
] as const)('at the level $level, a sub-agent whose folder is swapped', ({ level, needs }) => {
  test.skipIf(isMissing(needs)).each(SERVERS)(
    'gets that folder or nothing, on $server',
    async ({ uid, owner }) => {
      const server = await startAs(uid, 'swapped-project-process.ts', level, String(owner))
      const printed = await text(server.stdout)
      expect(printed).not.toBe('')
      const found = JSON.parse(printed)
      expect(found).toMatchObject({ level, outside: ['.git', 'secret.txt'] })
      expect(printed).not.toContain('CANARY')
      expect(found.before[0]).toMatch(/^bash_exec: mine.*\/project\/x\n$/s)
      for (const answer of found.linked)
        expect(answer).toMatch(
          /\/project\/x is not the folder of this run any more: it leads to .*\/outside/,
        )
      for (const answer of found.replaced)
        expect(answer).toMatch(/is not the folder of this run any more: another folder is there/)
    },
    120_000,
  )
})
