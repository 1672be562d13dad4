// Numbers as people read them: the only place that rounds what is shown.

const minus = (digits) => digits.replaceAll("-", "−");

function decimals(value, places = 2) {
  if (Number.isNaN(value)) return "–";
  if (!Number.isFinite(value)) return value > 0 ? "∞" : "−∞";
  const shown = value.toFixed(places);
  return Number(shown) === 0 ? shown.replace("-", "") : minus(shown);
}

const signed = (value, places = 2) => (value > 0 ? `+${decimals(value, places)}` : decimals(value, places));

// As many digits as needed, at most so many.
const short = (value, digits = 6) => minus(Number(value.toPrecision(digits)).toString());
