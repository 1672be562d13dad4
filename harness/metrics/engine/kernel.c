/* The loops in which scoring spends its time; kernel.py says what they compute.

   A vector holds one number of eight neighbouring bins. Compilers turn it into whatever the
   processor has; on Linux the widest version that it can run is chosen when the library is loaded.
*/
#include <math.h>
#include <string.h>

#define TILE 8    /* bins treated together */
#define PAIR (2 * TILE) /* their real parts, then their imaginary parts */
#define LEADING 8 /* signals unpacked together */
#define BLOCKS 64 /* at most */
#define UNROLL 4  /* vectors summed side by side */
#define GROUP 4   /* delayed signals multiplied together; there are zeros up to a multiple */

typedef double vector __attribute__((vector_size(8 * TILE), aligned(8)));

#if defined(__x86_64__) && defined(__gnu_linux__) && !defined(__clang__)
#define CLONES __attribute__((target_clones("arch=x86-64-v4", "arch=x86-64-v3", "default")))
#else
#define CLONES
#endif
#define INLINE static inline __attribute__((always_inline))

/* Write the tile of `spectra` (rows, bins) that starts at `bin` to `out` (rows, PAIR). */
INLINE void unpack(const double *spectra, long rows, long bins, long bin, double *out)
{
    long width = bins - bin < TILE ? bins - bin : TILE;
    for (long row = 0; row < rows; row++, out += PAIR) {
        const double *in = spectra + 2 * (row * bins + bin);
        if (width < TILE)
            memset(out, 0, PAIR * sizeof *out);
        for (int k = 0; k < width; k++) {
            out[k] = in[2 * k];
            out[TILE + k] = in[2 * k + 1];
        }
    }
}

CLONES void pack(const double *const *spectra, long signals, long blocks, long bins, double *out)
{
    long step = blocks * PAIR, zeros = (GROUP - signals % GROUP) % GROUP * step;
    for (long bin = 0; bin < bins; bin += TILE) {
        for (long i = 0; i < signals; i++, out += step)
            unpack(spectra[i], blocks, bins, bin, out);
        memset(out, 0, zeros * sizeof *out);
        out += zeros;
    }
}

#define ADD(A, B) \
    re[A][B] += leading_re[A] * re_delayed; \
    re[A][B] += leading_im[A] * im_delayed; \
    im[A][B] += leading_im[A] * re_delayed; \
    im[A][B] -= leading_re[A] * im_delayed;

/* Sum leading · conj(delayed) over the blocks, for two leading and GROUP delayed signals. */
INLINE void sums(const double *leading, const double *delayed, long step,
                 vector re[2][GROUP], vector im[2][GROUP])
{
    for (int a = 0; a < 2; a++)
        for (int b = 0; b < GROUP; b++)
            re[a][b] = im[a][b] = (vector){0};
    for (long n = 0; n < step; n += PAIR) {
        vector leading_re[2], leading_im[2];
        for (int a = 0; a < 2; a++) {
            leading_re[a] = *(const vector *)(leading + a * step + n);
            leading_im[a] = *(const vector *)(leading + a * step + n + TILE);
        }
#pragma GCC unroll 4
        for (int b = 0; b < GROUP; b++) {
            vector re_delayed = *(const vector *)(delayed + b * step + n);
            vector im_delayed = *(const vector *)(delayed + b * step + n + TILE);
            ADD(0, b)
            ADD(1, b)
        }
    }
}

CLONES void multiply(const double *const *leading, long signals, long blocks, long bins,
                     const double *delayed, long references, double *out)
{
    double own[(LEADING + 1) * BLOCKS * PAIR] __attribute__((aligned(64)));
    long padded = (references + GROUP - 1) / GROUP * GROUP, step = blocks * PAIR;
    for (long bin = 0; bin < bins; bin += TILE, delayed += padded * step) {
        long width = bins - bin < TILE ? bins - bin : TILE;
        for (long first = 0; first < signals; first += LEADING) {
            long count = signals - first < LEADING ? signals - first : LEADING;
            for (long i = 0; i < count; i++)
                unpack(leading[first + i], blocks, bins, bin, own + i * step);
            memset(own + count * step, 0, count % 2 * step * sizeof *own);
            for (long a = 0; a < count; a += 2)
                for (long b = 0; b < references; b += GROUP) {
                    vector re[2][GROUP], im[2][GROUP];
                    sums(own + a * step, delayed + b * step, step, re, im);
                    for (long i = 0; i < 2 && a + i < count; i++)
                        for (long j = 0; j < GROUP && b + j < references; j++) {
                            double *to = out + 2 * (((first + a + i) * references + b + j) * bins + bin);
                            for (long k = 0; k < width; k++) {
                                to[2 * k] = re[i][j][k];
                                to[2 * k + 1] = im[i][j][k];
                            }
                        }
                }
        }
    }
}

/* One function for each type of sample; a reading of SIZE samples into a vector. */
INLINE double total(const vector *x)
{
    double sum = 0;
    for (int k = 0; k < TILE; k++)
        sum += (*x)[k];
    return sum;
}

#define READ(TO, FROM) \
    vector TO; \
    for (int k = 0; k < TILE; k++) \
        TO[k] = (FROM)[k];

#define CUT(NAME, SAMPLE) \
    CLONES double NAME(const SAMPLE *row, long samples, long blocks, long hop, long length, double *out) \
    { \
        vector sum[UNROLL] = {{0}}; \
        double rest = 0; \
        for (long block = 0; block < blocks; block++, row += hop, samples -= hop, out += length) { \
            long count = samples < 0 ? 0 : samples < hop ? samples : hop, n = 0; \
            for (; n + UNROLL * TILE <= count; n += UNROLL * TILE) \
                for (int v = 0; v < UNROLL; v++) { \
                    READ(x, row + n + v * TILE) \
                    *(vector *)(out + n + v * TILE) = x; \
                    sum[v] += x * x; \
                } \
            for (; n < count; n++) { \
                out[n] = row[n]; \
                rest += out[n] * out[n]; \
            } \
            memset(out + count, 0, (length - count) * sizeof *out); \
        } \
        sum[0] += sum[1] + (sum[2] + sum[3]); \
        return rest + total(sum); \
    }

#define INNER(NAME, SAMPLE) \
    CLONES void NAME(const SAMPLE *left, const SAMPLE *right, long samples, double *out) \
    { \
        vector xx[2] = {{0}}, yy[2] = {{0}}, dd[2] = {{0}}, xy[2] = {{0}}; \
        long n = 0; \
        for (; n + 2 * TILE <= samples; n += 2 * TILE) \
            for (int v = 0; v < 2; v++) { \
                READ(x, left + n + v * TILE) \
                READ(y, right + n + v * TILE) \
                vector d = x - y; \
                xx[v] += x * x, yy[v] += y * y, dd[v] += d * d, xy[v] += x * y; \
            } \
        xx[0] += xx[1], yy[0] += yy[1], dd[0] += dd[1], xy[0] += xy[1]; \
        out[0] += total(xx), out[1] += total(yy), out[2] += total(dd), out[3] += total(xy); \
        for (; n < samples; n++) { \
            double x = left[n], y = right[n]; \
            out[0] += x * x, out[1] += y * y, out[2] += (x - y) * (x - y), out[3] += x * y; \
        } \
    }

CUT(cut_float, float)
CUT(cut_double, double)
INNER(inner_float, float)
INNER(inner_double, double)

/* The spectra of other tools' metrics, in float32: rows of `bins` complex numbers. Sums are added
   up in lanes over one row, and in double precision over the rows. */
#define LANES 16

#ifdef __clang__
#define SHUFFLE(A, B, ...) __builtin_shufflevector(A, B, __VA_ARGS__)
#else
#define SHUFFLE(A, B, ...) __builtin_shuffle(A, B, (ints){__VA_ARGS__})
#endif
#define EVEN(A, B) SHUFFLE(A, B, 0, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24, 26, 28, 30)
#define ODD(A, B) SHUFFLE(A, B, 1, 3, 5, 7, 9, 11, 13, 15, 17, 19, 21, 23, 25, 27, 29, 31)
#define ZIP_LOW(A, B) SHUFFLE(A, B, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23)
#define ZIP_HIGH(A, B) SHUFFLE(A, B, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31)

typedef float lanes __attribute__((vector_size(4 * LANES), aligned(4)));
typedef int ints __attribute__((vector_size(4 * LANES), aligned(4)));

INLINE lanes read_lanes(const float *from) { return *(const lanes *)from; }
INLINE lanes absolute(lanes x) { return (lanes)((ints)x & 0x7fffffff); }
INLINE lanes at_least(lanes x, float least)
{
    ints below = x < least;
    return (lanes)(((ints)x & ~below) | ((ints)((lanes){0} + least) & below));
}

/* Numbers of a row from `in` on with the window of Hann, which in frequency is a sum of three bins. */
INLINE lanes hann(const float *in)
{
    return 0.5f * read_lanes(in) - 0.25f * (read_lanes(in - 2) + read_lanes(in + 2));
}

/* Write the absolute values of spectra of at least LANES + 2 bins, with the window of Hann or none.
   Powers below `least` are raised to it. */
CLONES void sizes(const float *in, long rows, long bins, int windowed, float least, float *out)
{
    for (; rows > 0; rows--, in += 2 * bins, out += bins) {
        const float *end = in + 2 * (bins - 1);
        for (long k = 1; k < bins - 1; k += LANES) {
            k = k < bins - 1 - LANES ? k : bins - 1 - LANES;
            const float *from = in + 2 * k;
            lanes low = windowed ? hann(from) : read_lanes(from);
            lanes high = windowed ? hann(from + LANES) : read_lanes(from + LANES);
            lanes re = EVEN(low, high), im = ODD(low, high);
            *(lanes *)(out + k) = at_least(re * re + im * im, least);
        }
        float first = windowed ? 0.5f * (in[0] - in[2]) : in[0];
        float last = windowed ? 0.5f * (end[0] - end[-2]) : end[0];
        out[0] = first * first < least ? least : first * first;
        out[bins - 1] = last * last < least ? least : last * last;
        for (long k = 0; k < bins; k++)
            out[k] = sqrtf(out[k]);
    }
}

/* The natural logarithm of positive numbers by the series of the inverse hyperbolic tangent. */
INLINE lanes logarithm(lanes x)
{
    ints exponent = ((ints)x - 0x3f3504f3) >> 23; /* so that x is in [sqrt(1/2), sqrt(2)) */
    x = (lanes)((ints)x - (exponent << 23));
    lanes s = (x - 1) / (x + 1), q = s * s;
    lanes series = 2 + q * (2 / 3.0f + q * (2 / 5.0f + q * (2 / 7.0f + q * (2 / 9.0f))));
    return s * series + __builtin_convertvector(exponent, lanes) * 0.693147181f;
}

/* Call ADD(x, y, sums) for lanes of two rows; the lanes behind the end are ones. */
#define EACH(ADD) \
    lanes sums[4] = {{0}}; \
    long n = 0; \
    for (; n + LANES <= count; n += LANES) \
        ADD(read_lanes(x + n), read_lanes(y + n), ~(ints){0}) \
    if (n < count) { \
        lanes end_x = 1 + (lanes){0}, end_y = end_x; \
        ints used = {0}; \
        for (int k = 0; n + k < count; k++) { \
            end_x[k] = x[n + k], end_y[k] = y[n + k]; \
            used[k] = -1; \
        } \
        ADD(end_x, end_y, used) \
    } \
    for (int i = 0; i < 4; i++) \
        for (int k = 0; k < LANES; k++) \
            out[i] += sums[i][k];

#define USED(VALUE) (lanes)((ints)(VALUE) & used)

/* Add up (y - x)^2, x^2, y^2 and |log(y / x)|. */
INLINE void distance(lanes x, lanes y, ints used, lanes *sums)
{
    sums[0] += (y - x) * (y - x);
    sums[1] += USED(x * x);
    sums[2] += USED(y * y);
    sums[3] += absolute(logarithm(y / x));
}

/* Write up to LANES rows as columns of LANES numbers one after the other. */
INLINE void transpose(const float *in, long rows, long length, float *out)
{
    long k = 0;
    for (; rows == LANES && k + LANES <= length; k += LANES) {
        lanes old[LANES], new[LANES];
        for (int i = 0; i < LANES; i++)
            old[i] = read_lanes(in + i * length + k);
#pragma GCC unroll 4
        for (int round = 0; round < 4; round++) {
            for (int i = 0; i < LANES / 2; i++) {
                new[2 * i] = ZIP_LOW(old[i], old[i + LANES / 2]);
                new[2 * i + 1] = ZIP_HIGH(old[i], old[i + LANES / 2]);
            }
            for (int i = 0; i < LANES; i++)
                old[i] = new[i];
        }
        for (int i = 0; i < LANES; i++)
            *(lanes *)(out + (k + i) * LANES) = old[i];
    }
    for (; k < length; k++)
        for (int i = 0; i < rows; i++)
            out[k * LANES + i] = in[i * length + k];
}

/* Add up log(y / x) above and below zero, and count both. */
INLINE void level(lanes x, lanes y, ints used, lanes *sums)
{
    lanes log = logarithm(y / x), one = 1 + (lanes){0};
    ints above = used & (log > 0), below = used & (log < 0);
    sums[0] += (lanes)((ints)log & above);
    sums[1] += (lanes)((ints)log & below);
    sums[2] += (lanes)((ints)one & above);
    sums[3] += (lanes)((ints)one & below);
}

CLONES void distances(const float *x, const float *y, long rows, long count, double *out)
{
    for (; rows > 0; rows--, x += count, y += count) {
#define DISTANCE(X, Y, VALID) distance(X, Y, VALID, sums);
        EACH(DISTANCE)
    }
}

CLONES void level_sums(const float *x, const float *y, long rows, long count, float least_x,
                       float least_y, double *out)
{
    for (; rows > 0; rows--, x += count, y += count) {
#define LEVEL(X, Y, VALID) level(at_least(X, least_x), at_least(Y, least_y), VALID, sums);
        EACH(LEVEL)
    }
}

/* Add up |y - x| and |x|, of the real and of the imaginary parts, with the window of Hann. */
CLONES void parts(const float *x, const float *y, long rows, long bins, double *out)
{
    long last = 2 * (bins - 1);
    for (; rows > 0; rows--, x += 2 * bins, y += 2 * bins) {
        lanes sums[2] = {{0}};
        long n = 2;
        for (; n + LANES <= last; n += LANES) {
            lanes of_x = hann(x + n), of_y = hann(y + n);
            sums[0] += absolute(of_y - of_x);
            sums[1] += absolute(of_x);
        }
        for (; n < last; n++) {
            float of_x = 0.5f * x[n] - 0.25f * (x[n - 2] + x[n + 2]);
            float of_y = 0.5f * y[n] - 0.25f * (y[n - 2] + y[n + 2]);
            sums[0][n % LANES] += fabsf(of_y - of_x);
            sums[1][n % LANES] += fabsf(of_x);
        }
        for (int end = 0; end < 2; end++) {
            long at = end ? last : 0, next = end ? last - 2 : 2;
            float of_x = 0.5f * (x[at] - x[next]), of_y = 0.5f * (y[at] - y[next]);
            sums[0][0] += fabsf(of_y - of_x);
            sums[1][0] += fabsf(of_x);
        }
        for (int i = 0; i < 2; i++)
            for (int k = 0; k < LANES; k++)
                out[2 * i + k % 2] += sums[i][k];
    }
}

/* Write weighted sums of neighboring numbers, (rows, bands). Band b is the sum of `counts[b]` numbers
   from `firsts[b]` on, times weights, which stand one after the other. `across` holds LANES rows. */
CLONES void bands(const float *x, long rows, long length, const int *firsts, const int *counts,
                  const float *weights, long number, float *across, float *out)
{
    for (; rows > 0; rows -= LANES, x += LANES * length, out += LANES * number) {
        long frames = rows < LANES ? rows : LANES;
        transpose(x, frames, length, across);
        const float *weight = weights;
        for (long b = 0; b < number; b++) {
            const float *bin = across + firsts[b] * LANES;
            lanes sum = {0};
            for (int k = 0; k < counts[b]; k++, weight++, bin += LANES)
                sum += *weight * read_lanes(bin);
            for (long i = 0; i < frames; i++)
                out[i * number + b] = sum[i];
        }
    }
}
