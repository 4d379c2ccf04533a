import { InvalidArgumentError } from 'commander'
import { ALL_KINDS, type Kind } from '../client/index.ts'

/** A number; which ones make sense is for the server to say. */
export function number(text: string): number {
  const value = Number(text)
  if (text.trim() === '' || !Number.isFinite(value))
    throw new InvalidArgumentError('Give a number.')
  return value
}

/** A seq, or -1 for before the first. */
export function seq(text: string): number {
  if (!/^(-1|\d{1,15})$/.test(text)) throw new InvalidArgumentError('Give a seq, or -1.')
  return Number(text)
}

export function positiveInt(text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw new InvalidArgumentError('Give a whole number from 1.')
  return Number(text)
}

/** "all", or kinds separated by commas. */
export function kinds(text: string): readonly Kind[] {
  if (text === 'all') return ALL_KINDS
  return text.split(',').map((name) => {
    const kind = ALL_KINDS.find((known) => known === name.trim())
    if (kind !== undefined) return kind
    throw new InvalidArgumentError(`Choose "all", or some of ${ALL_KINDS.join(', ')}.`)
  })
}
