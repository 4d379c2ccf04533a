import { lstat, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import fastify from 'fastify'
import { expect, onTestFinished, test } from 'vitest'
import type { Settings } from '../../src/server/settings.ts'
import { listen } from '../../src/server/start-server.ts'
import { temporaryFolder } from '../runner/support.ts'
import { begin, cleanEnv, type Running, retrai, start } from './support.ts'

/** The environment of a server in a folder, and of its clients. */
async function place() {
  const folder = await temporaryFolder()
  const path = join(folder, 'r.sock')
  const env = {
    ...cleanEnv(),
    RETRAI_DATA_DIR: join(folder, 'data'),
    RETRAI_LISTEN: `unix:${path}`,
  }
  return { folder, path, env }
}

/** `retrai serve` until it is ready; it is stopped after the test. */
async function serve(env: NodeJS.ProcessEnv): Promise<Running> {
  const server = start(['serve'], env)
  onTestFinished(async () => {
    server.child.kill('SIGTERM')
    await server.exit
  })
  await server.prints(/retrai is ready at unix:/)
  return server
}

test('a server listens on a socket for its user alone, commands find it, and a watch goes through it', async () => {
  const { path, env, folder } = await place()
  const killed = await serve(env)
  const goals = await retrai(['goals'], env)
  expect(goals).toMatchObject({ code: 0, stdout: expect.stringContaining('pytest') })
  const run = await retrai(['run', 'pytest', '--cwd', folder, '--set', 'max_iterations=1'], env)
  expect(run.stderr).toContain('needs ANTHROPIC_API_KEY')
  killed.child.kill('SIGKILL')
  await killed.exit

  // The socket that it has left is replaced.
  expect((await lstat(path)).isSocket()).toBe(true)
  const server = await serve({ ...env, RETRAI_LLM_BASE_URL: 'http://127.0.0.1:9/v1' })
  expect((await lstat(path)).mode & 0o777).toBe(0o600)
  const project = join(folder, 'project')
  await mkdir(project)
  const watching = begin(['run', 'make-test', '--cwd', project], env)
  await watching.prints(/goal_check/)
  // There is no Makefile.
  expect(await watching.exit).toBe(1)
  await expect
    .poll(async () => (await retrai(['access'], env)).stdout)
    .toMatch(/a socket +watch_ended/)

  server.child.kill('SIGTERM')
  await server.exit
  expect(await lstat(path).catch(() => null)).toBeNull()
  const after = await retrai(['goals', '--server', `unix:${path}`], env)
  expect(after).toMatchObject({ code: 3, stderr: expect.stringContaining(`unix:${path}`) })
})

test('a file that is not a socket is not replaced, and neither is a socket that is in use', async () => {
  const { path, folder } = await place()
  const refused = async (socket: string) => {
    const RETRAI_LISTEN = { socket }
    const listening = await listen(fastify(), { RETRAI_LISTEN } as unknown as Settings)
    return listening._unsafeUnwrapErr()
  }
  await writeFile(path, 'precious')
  expect(await refused(path)).toContain('is not a socket')
  expect(await readFile(path, 'utf8')).toBe('precious')
  const used = join(folder, 'used.sock')
  const other = createServer().listen(used)
  onTestFinished(() => void other.close())
  expect(await refused(used)).toContain('another program listens')
  const linked = join(folder, 'link.sock')
  await symlink(used, linked)
  expect(await refused(linked)).toContain('is not a socket')
  expect((await lstat(linked)).isSymbolicLink()).toBe(true)
})
