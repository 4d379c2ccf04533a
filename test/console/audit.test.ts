import { readFile } from 'node:fs/promises'
import { gunzipSync } from 'node:zlib'
import { expect, test } from 'vitest'
import type { Script } from '../../examples/scripted-model/script.ts'
import { describeInBrowser, useBrowser, useConsoleServer } from './support/page.ts'
import { startRun } from './support/server.ts'

const script: Script = [
  { text: 'I count.', calls: [{ tool: 'bash_exec', args: { command: 'seq 1 60000' } }] },
  { text: 'Enough.' },
]

describeInBrowser('what can be trusted', () => {
  const open = useBrowser()
  const server = useConsoleServer(script)

  test('a long output is loaded in full and checked, and the run is downloaded as a signed export', async () => {
    const cwd = await server.newProject('counting')
    const runId = await startRun(server.url, { cwd, max_iterations: 1 })
    const page = await open(`${server.url}/runs/${runId}`)
    await page.getByTestId('connection').getByText('All records received').waitFor()
    await page.getByText('The server has signed exactly this history').waitFor()

    const timeline = page.getByTestId('timeline')
    await timeline.getByRole('button', { name: 'Fetch all of it' }).click()
    await timeline.getByText('Its SHA-256 equals the one in the record.').waitFor()
    expect(await timeline.getByText(/^31234$/m).count()).toBe(1)

    const saving = page.waitForEvent('download')
    await page.getByRole('button', { name: 'Signed export' }).click()
    const saved = await saving
    expect(saved.suggestedFilename()).toBe(`retrai-run-${runId}.tar.gz`)
    const archive = gunzipSync(await readFile(await saved.path()))
    expect(archive.includes(runId)).toBe(true)
  })
})
