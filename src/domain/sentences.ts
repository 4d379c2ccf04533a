/** A text of a program or a person as a part of a sentence: without what ends it. */
export const unended = (text: string): string => text.replace(/[\s.,:;]+$/, '')
