import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm, writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { delimiter, join } from 'node:path'
import { createInterface } from 'node:readline'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { startScriptedModel } from '../../examples/scripted-model/server.ts'
import { createClient } from '../../src/client/index.ts'
import { within } from '../support/within.ts'
import { cleanEnv, retrai } from './support.ts'

const CHECKOUT = join(import.meta.dirname, '../..')

let folder: string
let cleanups: (() => Promise<unknown>)[]

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'retrai-own-tools-'))
  cleanups = [() => rm(folder, { recursive: true, force: true })]
})
afterEach(async () => {
  for (const cleanup of cleanups.reverse()) await cleanup()
})

/** Starts a server as a person does, in the checkout. Resolves to its address. */
async function startAs(command: readonly string[], env: NodeJS.ProcessEnv): Promise<string> {
  const [file = '', ...args] = [...command, '--port', '0', '--data-dir', join(folder, 'data')]
  // npm starts the server through a shell: all of them are in one group.
  const child = spawn(file, args, {
    ...{ cwd: CHECKOUT, env, detached: true, stdio: ['ignore', 'pipe', 'ignore'] },
  })
  const ended = once(child, 'exit')
  cleanups.push(async () => {
    if (child.exitCode === null && child.pid !== undefined) process.kill(-child.pid, 'SIGTERM')
    await ended
  })
  const lines = createInterface({ input: child.stdout })
  const url = new Promise<string>((resolve) => {
    lines.on('line', (line) => {
      const found = /(?:ready|listens) at (http[^\s",]+)/.exec(line)?.[1]
      if (found !== undefined) resolve(found)
    })
  })
  const early = ended.then(() => Promise.reject(new Error(`${command.join(' ')} has ended`)))
  return within(Promise.race([url, early]), () => `${command.join(' ')} to be ready`)
}

/** A project that was never installed, whose tests pass with the Vitest of somebody else. */
async function uninstalledProject(): Promise<string> {
  const cwd = await mkdtemp(join(folder, 'project-'))
  const manifest = { name: 'mine', scripts: { test: 'vitest run --globals' } }
  await writeFile(join(cwd, 'package.json'), JSON.stringify(manifest))
  await writeFile(join(cwd, 'one.test.mjs'), "test('one', () => expect(1).toBe(1))\n")
  return cwd
}

const WAYS = {
  'npx retrai serve': ['npx', 'retrai', 'serve'],
  // Without the build of the console, which comes before it.
  'npm start': ['npm', 'start', '--ignore-scripts', '--'],
  'node bin/retrai.js serve': [process.execPath, 'bin/retrai.js', 'serve'],
}

for (const [name, way] of Object.entries(WAYS)) {
  test(`a goal is not reached with the programs of retrAI, started by ${name}`, async () => {
    const scripted = await startScriptedModel({ script: [{ text: 'I cannot.' }] })
    cleanups.push(() => scripted.close())
    const bin = join(CHECKOUT, 'node_modules/.bin')
    const env = {
      ...cleanEnv(),
      ...{ PATH: [bin, process.env.PATH].join(delimiter), RETRAI_LLM_BASE_URL: scripted.url },
    }
    const baseUrl = await startAs(way, env)
    const client = createClient({ baseUrl })
    const run = await client.runs.create({
      ...{ goal: 'npm-test', cwd: await uninstalledProject(), model_name: 'scripted' },
      max_iterations: 1,
    })
    const { run_id } = run._unsafeUnwrap()
    for await (const event of client.watch(run_id)) {
      if (event.kind !== 'goal_check') continue
      expect(event.payload).toMatchObject({ achieved: false })
      expect(event.payload.reason).toMatch(/vitest/)
      return
    }
    throw new Error('the goal was not checked')
  })
}

test('doctor looks for programs where commands look for them', async () => {
  const PATH = [join(CHECKOUT, 'node_modules/.bin'), '/usr/bin', '/bin'].join(delimiter)
  const args = ['doctor', '--json', '--data-dir', join(folder, 'data')]
  const { stdout } = await retrai(args, { ...cleanEnv(), PATH })
  const { findings } = JSON.parse(stdout)
  expect(findings).toContainEqual(expect.objectContaining({ name: 'biome', verdict: 'note' }))
})
