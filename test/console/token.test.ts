import { expect, test } from 'vitest'
import { ROLES } from '../../src/api/roles.ts'
import { createClient } from '../../src/client/index.ts'
import { describeInBrowser, useBrowser, useConsoleServer } from './support/page.ts'
import { sampleRuns } from './support/sample-runs.ts'

const TOKEN = 'a-token-of-sixteen-characters-or-more'
const { samples, waiting } = sampleRuns(Date.now() / 1000)

describeInBrowser('a server with a token', () => {
  const open = useBrowser(/status of 401/)
  const server = useConsoleServer([], samples, { RETRAI_TOKEN: TOKEN })

  test('is used for requests and live events until the tab is closed', async () => {
    const page = await open(`${server.url}/runs/${waiting}`)
    await page.getByRole('heading', { name: 'This server needs a token' }).waitFor()
    const input = page.getByRole('textbox', { name: 'Token' })
    await expect.poll(() => page.locator(':focus').getAttribute('type')).toBe('password')
    await page.keyboard.type('not the token at all')
    await page.keyboard.press('Enter')
    await page.getByText('The server does not accept this token.').waitFor()
    // The question stays while the answer is awaited, and with it the focus.
    expect(await page.locator(':focus').getAttribute('type')).toBe('password')
    await input.fill(TOKEN)
    await page.keyboard.press('Enter')
    await page.getByTestId('connection').getByText('Live', { exact: true }).waitFor()
    await page.getByTestId('decide').waitFor()
    await page.reload()
    await page.getByTestId('decide').waitFor()
    expect(await page.evaluate('localStorage.getItem("retrai.token")')).toBeNull()
  })

  test('shows each role what it may do, and is dropped once it is revoked', async () => {
    const { tokens } = createClient({ baseUrl: server.url, token: TOKEN })
    for (const role of ROLES) {
      const made = (await tokens.create({ name: `an-${role}`, role }))._unsafeUnwrap()
      const page = await open(`${server.url}/runs/${waiting}`)
      await page.getByLabel('Token', { exact: true }).fill(made.secret)
      await page.getByRole('button', { name: 'Continue' }).click()
      await page.getByTestId('connection').getByText('Live', { exact: true }).waitFor()
      expect(await page.getByTestId('who').textContent()).toBe(`an-${role} ${role}`)
      const commands = role === 'operator' || role === 'admin'
      for (const name of ['Start a run', 'Change the run', 'Abort the run']) {
        const buttons = page.getByRole('button', { name, exact: true })
        expect(await buttons.first().isEnabled(), `${role}: ${name}`).toBe(commands)
      }
      const decide = page.getByTestId('decide')
      const approve = decide.getByRole('button', { name: 'Approve' })
      await expect.poll(() => approve.count()).toBe(commands ? 1 : 0)
      const why = `Your role, ${role}, may not do this.`
      await expect.poll(() => decide.getByText(why).count()).toBe(commands ? 0 : 1)
      if (role !== 'viewer') continue
      await page.setViewportSize({ width: 360, height: 740 })
      expect(await page.evaluate('document.documentElement.scrollWidth')).toBe(360)
      await page.keyboard.press('n')
      expect(await page.getByRole('dialog').count()).toBe(0)
      ;(await tokens.revoke(made.id))._unsafeUnwrap()
      await page.getByRole('heading', { name: 'This server needs a token' }).waitFor()
    }
  })
})
