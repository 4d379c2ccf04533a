import { writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { text } from 'node:stream/consumers'
import { beforeEach, expect, test } from 'vitest'
import { temporaryFolder } from '../runner/support.ts'
import { serve } from '../support/serve.ts'
import { cleanEnv, retrai } from './support.ts'

const RUN = '550e8400-e29b-41d4-a716-446655440000'

/** Instructions that a person has written. */
let file: string
/** What each command asks a server that refuses everything. */
let asked: (readonly [line: string, body: unknown])[]
let env: NodeJS.ProcessEnv
beforeEach(async () => {
  file = join(await temporaryFolder(), 'words.txt')
  await writeFile(file, 'Rename nothing.\n')
  asked = []
  const url = await serve(async (request, response) => {
    const body = await text(request)
    asked.push([`${request.method} ${request.url}`, body === '' ? undefined : JSON.parse(body)])
    response.writeHead(403, { 'content-type': 'application/problem+json' })
    const type = 'urn:retrai:problem:forbidden'
    const words = { title: 'No', detail: 'No.', instance: '/' }
    response.end(JSON.stringify({ type, ...words, status: 403 }))
  })
  env = { ...cleanEnv(), RETRAI_SERVER: url }
})

const CWD = ['--cwd', '/p']

test.each<[args: string[], line: string, body?: object]>([
  [
    ['run', 'pytest', ...CWD, '-f', 'FILE', '--max-cost-usd', '2.5', '--copy', '--reason', 'why'],
    'POST /api/runs',
    {
      goal: 'pytest',
      cwd: '/p',
      instructions: 'Rename nothing.\n',
      max_cost_usd: 2.5,
      workspace: 'copy',
      reason: 'why',
    },
  ],
  [
    ['run', 'lint', '--check', 'a', ...CWD, '--set', 'max_tokens=9'],
    'POST /api/runs',
    { goal: 'lint', check: { command: 'a' }, cwd: '/p', max_tokens: 9, instructions: null },
  ],
  [
    ['run', '--check', 'a', '--check', 'b', ...CWD],
    'POST /api/runs',
    {
      all_of: ['a', 'b'].map((command) => ({ check: { command } })),
      cwd: '/p',
      instructions: null,
    },
  ],
  [
    ['run', '--set', 'all_of=[{"goal": "pytest"}]', ...CWD],
    'POST /api/runs',
    { all_of: [{ goal: 'pytest' }], cwd: '/p', instructions: null },
  ],
  [['send', RUN, 'Stop.'], 'POST /api/runs/RUN/messages', { text: 'Stop.' }],
  [
    ['configure', RUN, '--set', 'reasoning_effort=null', '--set', 'fallback_models=a,b'],
    'PATCH /api/runs/RUN/config',
    { reasoning_effort: null, fallback_models: ['a', 'b'] },
  ],
  [
    ['configure', RUN, '--tag', 'a', '--tag', 'b'],
    'PATCH /api/runs/RUN/config',
    { tags: ['a', 'b'] },
  ],
  [['abort', RUN, '--reason', 'slow'], 'POST /api/runs/RUN/abort', { reason: 'slow' }],
  [
    ['runs', '--tag', 'a', '--status', 'paused', '--project', 'p', '--limit', '1'],
    'GET /api/runs?tag=a&status=paused&project=p&limit=1',
  ],
  [
    ['search', 'a', 'b', '--run', RUN, '--kinds', 'error', '--limit', '1'],
    'GET /api/search?q=a+b&run_id=RUN&limit=1&kinds=error',
  ],
  [
    ['access', '--run', RUN, '--principal', 'ada', '--kinds', 'run_read'],
    'GET /api/access?run_id=RUN&principal=ada&direction=backward&limit=50&kinds=run_read',
  ],
  [['goals', ...CWD], 'GET /api/goals?cwd=%2Fp'],
])('retrai %j asks for %s', async (args, line, body) => {
  const given = args.map((arg) => (arg === 'FILE' ? file : arg))
  expect((await retrai(given, env)).code).toBe(3)
  expect(asked).toEqual([[line.replace('RUN', RUN), body]])
})
