import { execFile } from 'node:child_process'
import { globSync } from 'node:fs'
import { mkdtemp, readFile, rm } from 'node:fs/promises'
import { createRequire } from 'node:module'
import { tmpdir } from 'node:os'
import { dirname, join, normalize } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import { expect, test } from 'vitest'
import * as z from 'zod'
import { writeFiles } from './support/site.ts'

const CHECKOUT = fileURLToPath(new URL('../', import.meta.url))
const CONFIG = join(CHECKOUT, '.dependency-cruiser.cjs')
const Patterns = z.union([z.string(), z.array(z.string())]).default([])
const { forbidden } = z
  .object({
    forbidden: z.array(
      z.object({
        name: z.string(),
        from: z.object({ path: Patterns }),
        to: z.object({ pathNot: Patterns }),
      }),
    ),
  })
  .parse(createRequire(import.meta.url)(CONFIG))
const ROOMS = forbidden.flatMap(({ name }) => (name.startsWith('room-') ? [name.slice(5)] : []))

const PACKAGES = [
  '@anthropic-ai/sdk',
  '@eventstore/db-client',
  '@opentelemetry/api',
  'fastify',
  'openai',
]

/** An import that each rule forbids: the file that has it, and what it imports. */
const VIOLATIONS: Readonly<Record<string, readonly [file: string, imported: string]>> = {
  'no-cycles': ['src/server/cycle.ts', './cycle.ts'],
  'no-unresolvable': ['src/server/gone.ts', './nowhere.ts'],
  ...Object.fromEntries(
    ROOMS.map((room) => [
      `room-${room}`,
      [`src/${room}/wrong.ts`, room === 'cli' ? '../http/any.ts' : '../cli/any.ts'],
    ]),
  ),
  'the-console-shares-the-contract': ['web/src/page.ts', '../../src/http/any.ts'],
  'a-page-of-evidence-verifies': ['web/src/evidence/page.ts', '../../../src/http/any.ts'],
  'adapters-do-not-know-each-other': [
    'src/store/embedded/wrong.ts',
    '../../store/eventstoredb/any.ts',
  ],
  'domain-is-pure': ['src/domain/impure.ts', 'node:fs'],
  'the-program-of-a-workspace-is-small': ['src/workspace/program/wrong.ts', '../../http/any.ts'],
  'the-client-needs-nothing-of-node': ['src/client/reads.ts', '../lib/reads.ts'],
  'db-client-stays-in-its-adapter': ['src/log/store.ts', '@eventstore/db-client'],
  'openai-stays-in-its-adapter': ['src/agent/openai.ts', 'openai'],
  'anthropic-stays-in-its-adapter': ['src/agent/anthropic.ts', '@anthropic-ai/sdk'],
  'fastify-stays-in-http': ['src/server/fastify.ts', 'fastify'],
  'opentelemetry-stays-in-traces': ['src/log/spans.ts', '@opentelemetry/api'],
}

const Report = z.object({
  summary: z.object({
    violations: z.array(
      z.object({ from: z.string(), rule: z.object({ name: z.string() }).optional() }),
    ),
  }),
})

test('each rule about rooms and packages fails for an import that it forbids', async () => {
  expect(Object.keys(VIOLATIONS).sort()).toEqual(forbidden.map(({ name }) => name).sort())
  const folder = await mkdtemp(join(tmpdir(), 'retrai-rooms-'))
  try {
    const wrong = Object.values(VIOLATIONS).map(([file, imported]) => {
      return [file, `import { any } from '${imported}'\nexport const wrong = any\n`]
    })
    const right = ['src/cli/any.ts', 'src/http/any.ts', 'src/store/eventstoredb/any.ts']
    await writeFiles(folder, {
      ...Object.fromEntries(wrong),
      ...Object.fromEntries(right.map((file) => [file, 'export const any = 1\n'])),
      'src/lib/reads.ts': "export { readFile as any } from 'node:fs'\n",
      'tsconfig.json': await readFile(join(CHECKOUT, 'tsconfig.json'), 'utf8'),
    })
    for (const name of PACKAGES) {
      await writeFiles(join(folder, 'node_modules', name), {
        'index.js': 'export const any = 1\n',
        'package.json': JSON.stringify({ name, type: 'module', exports: './index.js' }),
      })
    }
    const program = join(CHECKOUT, 'node_modules/dependency-cruiser/bin/dependency-cruiser.mjs')
    const args = [program, 'src', 'web/src', '--config', CONFIG, '--output-type', 'json']
    const cruised = await promisify(execFile)(process.execPath, args, { cwd: folder })
    const { violations } = Report.parse(JSON.parse(cruised.stdout)).summary
    for (const [rule, [file]] of Object.entries(VIOLATIONS)) {
      const broken = violations.filter(({ from }) => from === file).map((each) => each.rule?.name)
      expect(broken, file).toContain(rule)
    }
  } finally {
    await rm(folder, { recursive: true, force: true })
  }
})

test('each allowed import between two rooms is used', async () => {
  const imports: (readonly [from: string, to: string])[] = []
  for (const path of globSync('{src,web/src}/**/*.{ts,tsx}', { cwd: CHECKOUT })) {
    const source = await readFile(join(CHECKOUT, path), 'utf8')
    for (const [, imported = ''] of source.matchAll(/(?:from|import\()\s*'(\.[^']+)'/g)) {
      imports.push([path, normalize(join(dirname(path), imported))])
    }
  }
  const unused = forbidden.flatMap(({ name, from, to }) => {
    if (!name.startsWith('room-') && name !== 'the-console-shares-the-contract') return []
    const rooms = [from.path].flat().map((pattern) => new RegExp(pattern))
    const ofRoom = imports.filter(([path]) => rooms.some((room) => room.test(path)))
    return [to.pathNot]
      .flat()
      .filter((path) => path !== from.path && !ofRoom.some(([, to]) => new RegExp(path).test(to)))
      .map((path) => `${name}: ${path}`)
  })
  expect(unused).toEqual([])
})
