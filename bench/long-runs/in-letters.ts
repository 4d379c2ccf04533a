/** A number as a word, so that the outputs of two turns differ by more than numbers. */
export const inLetters = (number: string): string =>
  [...number].map((digit) => 'abcdefghij'[Number(digit)] ?? digit).join('')
