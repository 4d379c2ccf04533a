import { expect, test } from 'vitest'
import { describeInBrowser, useBrowser, useConsoleServer } from './support/page.ts'
import { sampleRuns } from './support/sample-runs.ts'

const TOKEN = 'a-token-of-sixteen-characters-or-more'
const { samples, waiting } = sampleRuns(Date.now() / 1000)

describeInBrowser('a page from another machine without TLS, where browsers offer less', () => {
  const open = useBrowser(/status of 401|Cross-Origin-Opener-Policy header has been ignored/)
  const server = useConsoleServer([], samples, { RETRAI_TOKEN: TOKEN })

  test('sends messages, and copies', async () => {
    const page = await open(`${server.url.replace('127.0.0.1', 'retrai.test')}/runs/${waiting}`)
    await page.getByLabel('Token', { exact: true }).fill(TOKEN)
    await page.getByRole('button', { name: 'Continue' }).click()
    await page.getByRole('button', { name: 'Send a message to the agent' }).click()
    const dialog = page.getByRole('dialog', { name: 'Send a message to the agent' })
    await dialog.getByLabel('Message').fill('Look at the ledger first')
    await dialog.getByRole('button', { name: 'Send' }).click()
    await dialog.waitFor({ state: 'detached' })
    await page.getByTestId('timeline').getByText('Look at the ledger first').waitFor()

    await page.getByTitle('Copy the id of the run').click()
    await page.getByText('copied', { exact: true }).waitFor()
    await page.keyboard.press('d')
    await page.keyboard.press('Control+V')
    expect(await page.locator(':focus').inputValue()).toBe(waiting)
    expect(await page.evaluate('isSecureContext')).toBe(false)
  })
})
