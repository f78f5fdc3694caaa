const ASCII_BLANKS_AROUND = /^[\t\n\f\r ]+|[\t\n\f\r ]+$/g;

/**
 * A word of a protocol (status, direction, event, media type, scheme) in the one form in which such words are compared:
 * without the ASCII blanks around it, and with ASCII letters in upper case. Nothing else is folded: by Unicode's rules
 * "ſucceſſ" is SUCCESS, and a word that moves money is not read out of letters that only look like it.
 */
export function protocolWord(text: string): string {
  return text.replace(ASCII_BLANKS_AROUND, '').replace(/[a-z]+/g, (letters) => letters.toUpperCase());
}
