import { lstat, mkdir, readFile, symlink, writeFile } from 'node:fs/promises'
import { createServer } from 'node:net'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { temporaryFolder } from '../runner/support.ts'
import { cleanEnv, type Running, retrai, start } from './support.ts'

/** The environment of a server in a folder, and of its clients. */
async function place() {
  const folder = await temporaryFolder()
  const path = join(folder, 'r.sock')
  const env = {
    ...cleanEnv(),
    ...{ RETRAI_DATA_DIR: join(folder, 'data'), RETRAI_LISTEN: `unix:${path}` },
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

test('a server listens on a socket for its user alone, and commands find it', async () => {
  const { path, env, folder } = await place()
  const server = await serve(env)
  const { mode } = await lstat(path)
  expect(mode & 0o777).toBe(0o600)
  const goals = await retrai(['goals'], env)
  expect(goals).toMatchObject({ code: 0, stdout: expect.stringContaining('pytest') })
  const run = await retrai(['run', 'pytest', '--cwd', folder, '--max-iterations', '1'], env)
  expect(run.stderr).toContain('needs ANTHROPIC_API_KEY')
  server.child.kill('SIGTERM')
  await server.exit
  expect(await lstat(path).catch(() => null)).toBeNull()
  const after = await retrai(['goals', '--server', `unix:${path}`], env)
  expect(after).toMatchObject({ code: 3, stderr: expect.stringContaining(`unix:${path}`) })
})

test('a watch goes through the socket', async () => {
  const { env, folder } = await place()
  const withModel = { ...env, RETRAI_LLM_BASE_URL: 'http://127.0.0.1:9/v1' }
  await serve(withModel)
  const watching = start(['watch'], env)
  onTestFinished(() => void watching.child.kill('SIGKILL'))
  await watching.prints(/Watching/)
  const project = join(folder, 'project')
  await mkdir(project)
  const started = await retrai(['run', 'make-test', '--cwd', project, '--detach'], env)
  expect(started.code).toBe(0)
  await watching.prints(/goal_check/)
})

test('a socket that a killed server has left is replaced', async () => {
  const { path, env } = await place()
  const server = await serve(env)
  server.child.kill('SIGKILL')
  await server.exit
  expect((await lstat(path)).isSocket()).toBe(true)
  await serve(env)
  expect((await retrai(['goals'], env)).code).toBe(0)
})

test('a file that is not a socket is not replaced, and neither is a socket that is in use', async () => {
  const { path, env, folder } = await place()
  await writeFile(path, 'precious')
  const refused = await retrai(['serve'], env)
  expect(refused).toMatchObject({ code: 1, stderr: expect.stringContaining('is not a socket') })
  expect(await readFile(path, 'utf8')).toBe('precious')
  const used = join(folder, 'used.sock')
  const other = createServer().listen(used)
  onTestFinished(() => void other.close())
  const busy = await retrai(['serve'], { ...env, RETRAI_LISTEN: `unix:${used}` })
  expect(busy).toMatchObject({
    code: 1,
    stderr: expect.stringContaining('Another program listens'),
  })
  const linked = join(folder, 'link.sock')
  await symlink(used, linked)
  const through = await retrai(['serve'], { ...env, RETRAI_LISTEN: `unix:${linked}` })
  expect(through).toMatchObject({ code: 1, stderr: expect.stringContaining('is not a socket') })
  expect((await lstat(linked)).isSymbolicLink()).toBe(true)
})
