import { expect, test } from 'vitest'
import { faults } from './support/faults.ts'
import { describeInBrowser, untilReceived, useBrowser, useConsoleServer } from './support/page.ts'
import { sampleRuns } from './support/sample-runs.ts'

const { samples, achieved } = sampleRuns(Date.now() / 1000)

describeInBrowser('a search', () => {
  const open = useBrowser()
  const server = useConsoleServer([], samples)

  test('of all runs leads to the records that it finds, and its words are in the address', async () => {
    const page = await open(server.url)
    await page.getByRole('link', { name: 'Search all runs' }).click()
    const input = page.getByRole('searchbox', { name: 'Search all runs' })
    await input.fill('"invoice.py" round')
    // The index may be made while the page is open.
    await page.locator('mark').first().waitFor()
    expect(await faults(page)).toEqual([])
    await expect.poll(() => new URL(page.url()).search).toBe('?q=%22invoice.py%22+round')
    await page.reload()
    const found = page.locator(`a[href^="/runs/${achieved}#seq="]`).first()
    const seq = (await found.getAttribute('href'))?.split('=')[1]
    await found.click()
    await page.locator('[data-here="true"]').waitFor()
    expect(new URL(page.url()).hash).toBe(`#seq=${seq}`)
    await page.goBack()
    expect(await input.inputValue()).toBe('"invoice.py" round')
  })

  test('of one run goes from record to record, of one kind or of failures, and to the first error', async () => {
    const page = await open(`${server.url}/runs/${achieved}`)
    const hash = () => new URL(page.url()).hash
    await untilReceived(page)
    await page.keyboard.press('/')
    await page.keyboard.insertText('passed')
    const status = page.getByRole('search').getByRole('status')
    await expect.poll(() => status.textContent()).toMatch(/^\d+ found$/)
    await page.keyboard.press('Enter')
    await expect.poll(() => status.textContent()).toMatch(/^1 of \d+$/)
    await page.getByRole('button', { name: 'Next match' }).click()
    await expect.poll(() => status.textContent()).toMatch(/^2 of \d+$/)
    await page.getByRole('button', { name: 'Previous match' }).click()
    await expect.poll(() => status.textContent()).toMatch(/^1 of \d+$/)
    expect(await faults(page)).toEqual([])
    await page.getByRole('combobox', { name: 'Where to find it' }).click()
    await page.getByRole('option', { name: 'Printed by failed calls' }).click()
    await page.getByRole('button', { name: 'First error' }).click()
    await expect.poll(() => status.textContent()).toMatch(/^1 of \d+$/)
    await expect.poll(hash).toMatch(/^#seq=\d+$/)
  })
})
