import { statSync } from 'node:fs'
import { chmod } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { isRoot, ONCE } from '../support/levels.ts'
import { isMissing } from '../support/missing.ts'
import { bash, writeFiles } from '../support/site.ts'
import { test } from '../support/test.ts'
import { carried, kindsOf, recordOf, sh, sums } from './support.ts'

const FILES = {
  'add.sh': 'echo 0\n',
  'test.sh': 'for one in tests/*.sh; do sh "$one" || exit 1; done\n',
  'tests/add.sh': 'test "$(sh add.sh 1 2)" = 3\n',
  'node_modules/x/index.js': 'lib\n',
  '.gitignore': 'node_modules\n',
}

test.for(ONCE)(
  'at %s, a run in a copy has sub-agents and a final check, and its changes are applied',
  async ([, level, owner], { site, skip }) => {
    skip(isMissing('git'))
    await chmod(site.folder, 0o755)
    const project = site.path('project')
    await writeFiles(project, FILES)
    sh(
      project,
      'git init -q; git config user.email a@b; git config user.name a; git add -A; git commit -qm one',
    )
    if (owner !== null) sh(project, `chown -R ${owner}:${owner} .`)
    const before = sums(project)
    const look = `ls ${site.folder} ${site.path('data-copies')} 2>&1 | sort; pwd; git log --oneline | wc -l; cat node_modules/x/index.js`
    const model = await site.model(({ turn, messages }) => {
      const isBelow = messages.some(({ content }) => content.includes('Write by.txt'))
      if (isBelow) return turn === 0 ? bash('echo by a sub-agent >by.txt') : { text: 'Written.' }
      if (turn === 0)
        return { calls: [{ tool: 'run_subagent', args: { instructions: 'Write by.txt' } }] }
      if (turn === 1) return bash(look)
      return turn === 2 ? bash(`echo 'echo $(($1 + $2))' >add.sh`) : { text: 'Done.' }
    })
    const server = await site.serve('data', { model, env: { RETRAI_ISOLATION: level } })
    const changes = { check: { command: 'sh test.sh' }, max_turns_per_iteration: 9 }
    const runId = await server.start(project, { workspace: 'copy', ...changes })
    const { body } = await server.untilStatus(runId, 'achieved')
    const copy = site.path('data-copies', runId, 'project')
    const { uid, mode } = statSync(copy)
    expect(mode & 0o777).toBe(0o700)
    expect(body.verdict).toMatchObject({ as_is: 'achieved', original_checks: 'achieved' })
    expect(await kindsOf(server, runId)).toContain('final_check')
    const seen = (await recordOf(server, runId, 'tool_result')).output
    expect(seen).toBeDefined()
    const { text } = await server.get(`/api/runs/${runId}/events?kinds=tool_result`)
    const [, looked] = JSON.parse(text).map(
      ({ payload }: { payload: { output: string } }) => payload.output,
    )
    expect(looked).toContain(`${copy}\n1\nlib`)
    if (level === 'namespaces') expect(looked).not.toContain('data\n')
    if (owner !== null) expect(uid).toBe(owner)
    expect(sums(project)).toBe(before)
    const applied = await server.post(`/api/runs/${runId}/apply`, { as: 'files' })
    expect(applied.body.files).toEqual(carried('write add.sh', 'write by.txt'))
    expect(sh(project, 'sh test.sh; cat by.txt')).toBe('by a sub-agent')
    const own = statSync(join(project, 'by.txt')).uid
    expect(own).toBe(owner ?? (isRoot ? 0 : process.getuid?.()))
    const made = await server.post(`/api/runs/${runId}/rollback`, { to: 0 })
    // The copy is gone, and with it what could be rolled back.
    expect(made.status).toBe(409)
    expect(sh(site.path('data-copies'), 'ls')).toBe('')
  },
)
