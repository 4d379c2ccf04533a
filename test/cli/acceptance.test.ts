import { mkdir, rm, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect } from 'vitest'
import { bash, printed, type Site } from '../support/site.ts'
import { test } from '../support/test.ts'
import { cleanEnv, refused } from './support.ts'

async function folderOf(site: Site, files: Readonly<Record<string, string | Uint8Array>>) {
  const folder = site.path('accept')
  await mkdir(join(folder, 'sub'), { recursive: true })
  for (const [path, content] of Object.entries(files)) await writeFile(join(folder, path), content)
  return folder
}

const FILES = { 'accept.sh': 'bash sub/ü.sh\n', 'sub/ü.sh': '\ufefftest 1 = 1\n' }

test('retrai run --accept says what is wrong with a folder; otherwise it sends the files, and runs accept.sh', async ({
  site,
}) => {
  const server = await site.serve('data', { model: await site.model([bash('touch done')]) })
  const cwd = await site.project()
  const env = { ...cleanEnv(), RETRAI_SERVER: server.url }
  const run = ['run', 'shell-goal', '--cwd', cwd, '--model', 'scripted', '--detach', '--accept']
  const fails = (folder: string, why: string) => refused([...run, folder], why, env)
  const folder = await folderOf(site, FILES)
  await fails(site.path('nowhere'), 'The folder of --accept cannot be read')
  await fails(join(folder, 'accept.sh'), 'not a directory')
  await fails(join(folder, 'sub'), 'has no accept.sh')
  await writeFile(join(folder, 'bytes.bin'), Buffer.from([0xff, 0xfe]))
  await fails(folder, 'bytes.bin is not text in UTF-8')
  await writeFile(join(folder, 'bytes.bin'), 'x'.repeat(4 * 1024 * 1024))
  await fails(folder, 'must be at most 200 files, of 4 MiB together')
  await rm(join(folder, 'bytes.bin'))
  await symlink('/etc/hostname', join(folder, 'sub', 'link'))
  await fails(folder, 'sub/link is a link, or no file')
  await rm(join(folder, 'sub', 'link'))
  expect((await server.get('/api/runs')).text).toBe('[]')

  const runId = (await printed([...run, folder], env)).trim()
  const events = await server.get(`/api/runs/${runId}/events?kinds=run_created`)
  const [{ payload }] = JSON.parse(events.text)
  const { accept: recorded } = payload.config
  expect(recorded).toMatchObject({ files: 2 })
  const { body, text } = await server.get(`/api/runs/${runId}/artifacts/${recorded.sha256}`)
  expect(body).toEqual({})
  const command = 'bash accept.sh'
  expect(JSON.parse(text)).toEqual({ files: FILES, command, salt: expect.any(String) })
})
