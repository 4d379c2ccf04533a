import { randomUUID } from 'node:crypto'
import { expect, test } from 'vitest'
import { describeInBrowser, useBrowser, useConsoleServer } from './support/page.ts'
import { SampleRun } from './support/sample-run.ts'
import { configOf } from './support/seed.ts'

const RUN = randomUUID()
const EVIL =
  '<img src="/evil" onerror="window.hurt=1"><script>window.hurt=1</script> ![](/evil.png) [x](javascript:window.hurt=1) [here](/api/runs) [out](https://evil.example/a) a\u202eb'

const config = configOf({ goal_options: { start: EVIL } })
const sample = new SampleRun(RUN, config, Date.now() / 1000 - 60).iterate({
  text: EVIL,
  calls: [
    { tool: 'file_write', args: { path: 'a.html', content: EVIL }, output: EVIL },
    { tool: 'bash_exec', args: { command: EVIL }, output: EVIL, exitCode: 1 },
  ],
  check: { achieved: true, reason: EVIL, details: EVIL },
})

describeInBrowser('words of a model and output of tools', () => {
  const open = useBrowser()
  const server = useConsoleServer([], [sample])

  test('are shown as text, and never become markup or cause a request', async () => {
    const page = await open('about:blank')
    const asked: string[] = []
    page.on('request', (request) => asked.push(request.url()))
    await page.goto(`${server.url}/runs/${RUN}`)
    await page.getByTestId('timeline').getByText('bash_exec').waitFor()
    await page.getByTestId('timeline').getByText('onerror=').first().waitFor()
    expect(await page.evaluate('window.hurt')).toBeUndefined()
    expect(await page.locator('[data-testid="timeline"] img').count()).toBe(0)
    expect(await page.locator('[href^="javascript:"]').count()).toBe(0)
    const links = `[...document.querySelectorAll('[data-testid="timeline"] a[href]')]`
    expect(await page.evaluate(`${links}.map((link) => link.outerHTML)`)).toEqual([
      '<a href="https://evil.example/a" title="https://evil.example/a" target="_blank" rel="noopener noreferrer nofollow" tabindex="-1">out</a>',
    ])
    await page.getByTestId('timeline').getByText('a⟨U+202E⟩b').first().waitFor()
    const overview = page.getByRole('complementary', { name: 'Overview' })
    expect(await overview.textContent()).not.toContain('\u202e')
    expect(await overview.getByText('a⟨U+202E⟩b').count()).toBe(2)
    expect(asked.filter((url) => url.includes('evil'))).toEqual([])
    expect(asked.every((url) => new URL(url).origin === server.url)).toBe(true)
  })
})
