import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdir, writeFile } from 'node:fs/promises'
import { delimiter, dirname, join } from 'node:path'
import { createInterface } from 'node:readline'
import { expect } from 'vitest'
import { createClient } from '../../src/client/index.ts'
import type { Site } from '../support/site.ts'
import { test } from '../support/test.ts'
import { within } from '../support/within.ts'
import { cleanEnv, retraiProcess } from './support.ts'

const CHECKOUT = join(import.meta.dirname, '../..')

/** Starts a server as a person does, in the checkout. Resolves to its address. */
async function startAs(
  site: Site,
  command: readonly string[],
  env: NodeJS.ProcessEnv,
): Promise<string> {
  const [file = '', ...args] = [...command, '--port', '0', '--data-dir', site.path('data')]
  // npm starts the server through a shell: all of them are in one group.
  const child = spawn(file, args, {
    cwd: CHECKOUT,
    env,
    detached: true,
    stdio: ['ignore', 'pipe', 'ignore'],
  })
  // It closes once the server, which may outlive npx, has ended, too.
  const ended = once(child, 'close')
  site.onClose(async () => {
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
async function uninstalledProject(site: Site): Promise<string> {
  const manifest = { name: 'mine', scripts: { test: 'vitest run --globals' } }
  await site.write('project/package.json', JSON.stringify(manifest))
  const test = "test('one', () => expect(1).toBe(1))\n"
  return dirname(await site.write('project/one.test.mjs', test))
}

test('a goal is not reached with the programs of retrAI', async ({ site }) => {
  const scripted = await site.model([{ text: 'I cannot.' }])
  const bin = join(CHECKOUT, 'node_modules/.bin')
  const env = {
    ...cleanEnv(),
    PATH: [bin, process.env.PATH].join(delimiter),
    RETRAI_LLM_BASE_URL: scripted.url,
  }
  const baseUrl = await startAs(site, ['npx', 'retrai', 'serve'], env)
  const client = createClient({ baseUrl })
  const run = await client.runs.create({
    goal: 'npm-test',
    cwd: await uninstalledProject(site),
    model_name: 'scripted',
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

test('doctor looks for programs where commands look for them', async ({ site }) => {
  const own = site.path('node_modules/.bin')
  await mkdir(own, { recursive: true })
  await writeFile(join(own, 'pyright'), '#!/bin/sh\n', { mode: 0o755 })
  const PATH = [own, '/usr/bin', '/bin'].join(delimiter)
  const args = ['doctor', '--json', '--data-dir', site.path('data')]
  const { stdout } = await retraiProcess(args, { ...cleanEnv(), PATH })
  const { findings } = JSON.parse(stdout)
  expect(findings).toContainEqual(expect.objectContaining({ name: 'pyright', verdict: 'note' }))
})
