import { mkdir, symlink, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { describe, expect } from 'vitest'
import type { Site } from '../support/site.ts'
import { bash } from '../support/site.ts'
import { test } from '../support/test.ts'

/** A server whose runs reach their goal at once. */
async function serverOf(site: Site) {
  const model = await site.model([bash('touch done')])
  return site.serve('data', { model })
}

async function folderOf(site: Site, files: Readonly<Record<string, string | Uint8Array>>) {
  const folder = site.path('accept')
  await mkdir(join(folder, 'sub'), { recursive: true })
  for (const [path, content] of Object.entries(files)) await writeFile(join(folder, path), content)
  return folder
}

const FILES = { 'accept.sh': 'bash sub/ü.sh\n', 'sub/ü.sh': '\ufefftest 1 = 1\n' }

describe('retrai run --accept', () => {
  test('sends the files of a folder, and runs its accept.sh', async ({ site }) => {
    const server = await serverOf(site)
    const cwd = await site.project()
    const accept = ['--accept', await folderOf(site, FILES)]
    const run = ['run', 'shell-goal', '--cwd', cwd, '--model', 'scripted', ...accept, '--detach']
    const { code, stdout, stderr } = await server.retrai(...run)
    expect([code, stderr]).toEqual([0, expect.stringContaining('The run has started')])
    const runId = stdout.trim()
    const events = await server.get(`/api/runs/${runId}/events?kinds=run_created`)
    const [{ payload }] = JSON.parse(events.text)
    const { accept: recorded } = payload.config
    expect(recorded).toMatchObject({ files: 2 })
    const { body, text } = await server.get(`/api/runs/${runId}/artifacts/${recorded.sha256}`)
    expect(body).toEqual({})
    const command = 'bash accept.sh'
    expect(JSON.parse(text)).toEqual({ files: FILES, command, salt: expect.any(String) })
  })

  test('says what is wrong with a folder, and starts no run', async ({ site }) => {
    const server = await serverOf(site)
    const cwd = await site.project()
    const fails = async (folder: string) => {
      const args = ['shell-goal', '--cwd', cwd, '--model', 'scripted', '--accept', folder]
      const { code, stderr } = await server.retrai('run', ...args)
      expect(code).toBe(3)
      return stderr
    }
    const folder = await folderOf(site, FILES)
    expect(await fails(site.path('nowhere'))).toContain('The folder of --accept cannot be read')
    expect(await fails(join(folder, 'accept.sh'))).toContain('is no folder')
    expect(await fails(join(folder, 'sub'))).toContain('has no accept.sh')
    await writeFile(join(folder, 'bytes.bin'), Buffer.from([0xff, 0xfe]))
    expect(await fails(folder)).toContain('bytes.bin is not text in UTF-8')
    await writeFile(join(folder, 'bytes.bin'), 'x'.repeat(4 * 1024 * 1024))
    expect(await fails(folder)).toContain('has more than 200 files, or more than 4 MiB')
    await writeFile(join(folder, 'bytes.bin'), '')
    await symlink('/etc/hostname', join(folder, 'sub', 'link'))
    expect(await fails(folder)).toMatch(/sub\/link is a link, or no file/)
    await mkdir(site.path('git/.git'), { recursive: true })
    await writeFile(site.path('git/.git/config'), '')
    await writeFile(site.path('git/accept.sh'), '')
    expect(await fails(site.path('git'))).toMatch(
      /accept\.files\.\.git\/config must be a path from the project/,
    )
    expect((await server.get('/api/runs')).text).toBe('[]')
  })
})
